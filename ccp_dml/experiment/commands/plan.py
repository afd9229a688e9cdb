"""`--mode=plan`: prints the commands of the runs that are missing."""

import os
import sys

from absl import flags

from ccp_dml.distribution.strategy_names import check_strategy
from ccp_dml.experiment.commands.arguments import (
    given_settings,
    require_workdir,
    runs_of_protocol,
    whole_numbers,
)
from ccp_dml.experiment.flags import settings_from
from ccp_dml.experiment.paper_plan import (
    FOLDS,
    SEEDS,
    format_plan,
    plan_cell_runs,
    plan_cells,
    settings_to_measure,
)
from ccp_dml.experiment.protocol import missing_runs, shell_command, write_flagfile
from ccp_dml.experiment.step_times import given_times, measure_times, published_times


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Plans the runs of `--folds` and `--seeds`, or those of `--cells` with their hours.

    Raises:
        ValueError: If a flag or setting is wrong.
    """
    if flag_values.cells:
        _plan_cells(flag_values, workdir)
        return
    for name in ("measure_step", "step_ms"):
        if flag_values[name].present:
            raise ValueError(
                f"--{name} applies only to the hours of --cells, such as --cells=sop,inshop/c2_ccp"
            )
    workdir = require_workdir(workdir, "/tmp/letters")
    settings = settings_from(flag_values)
    check_strategy(settings.strategy, settings.model_devices)
    _print_missing(runs_of_protocol(flag_values, settings, workdir))


def _plan_cells(flag_values, workdir):
    for name in ("fold", "seed"):
        if flag_values[name].present:
            raise ValueError(
                f"the {name}s of --cells are given by --{name}s, such as --{name}s=1,2"
            )
    changes = {name: flag_values[name].value for name in given_settings(flag_values)}
    lists = {name: tuple(value) for name, value in changes.items() if isinstance(value, list)}
    cells = plan_cells(flag_values.cells, changes | lists)
    runs = plan_cell_runs(
        cells,
        whole_numbers(flag_values, "folds") or FOLDS,
        whole_numbers(flag_values, "seeds") or SEEDS,
        workdir or os.getcwd(),
    )
    table = format_plan(cells, runs, _step_times(flag_values, cells))
    if not workdir:
        print(table)
        return
    # Only commands go to stdout, so that they can be piped to a shell or a scheduler.
    print(table, file=sys.stderr)
    for runs_of_cell in runs.values():
        if missing_runs(runs_of_cell):
            _print_missing(runs_of_cell)


def _print_missing(runs):
    write_flagfile(runs)
    for missing in missing_runs(runs):
        print(shell_command(missing))


def _step_times(flag_values, cells):
    if flag_values.measure_step:
        if flag_values.step_ms is not None:
            raise ValueError(
                "either --measure_step or --step_ms gives the time of a step, not both"
            )
        return measure_times(*settings_to_measure(cells))
    if flag_values.step_ms is not None:
        return given_times(flag_values.step_ms)
    return published_times()
