"""`--mode=train`: trains one run, or those of several folds and seeds."""

from collections.abc import Sequence

from absl import flags

from ccp_dml.distribution.strategy_names import check_strategy
from ccp_dml.experiment.commands.arguments import require_workdir, runs_of_protocol
from ccp_dml.experiment.flags import format_notes, settings_from
from ccp_dml.experiment.interruption import Interruption, end_with_parent
from ccp_dml.experiment.protocol import (
    PlannedRun,
    missing_runs,
    move_single_run,
    prepare_data,
    process_environments,
    train_runs,
    write_flagfile,
)
from ccp_dml.experiment.published import find_published
from ccp_dml.experiment.run_report import write_report
from ccp_dml.experiment.table import make_tables, save_tables
from ccp_dml.experiment.training import train
from ccp_dml.experiment.workdir import WorkdirLock


class RunsFailedError(RuntimeError):
    """Some runs of a protocol have failed; the others are finished."""


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Trains the runs that are not finished, and prints the results.

    Raises:
        ValueError: If a flag or setting is wrong.
        RunsFailedError: If there are several runs and some fail.
    """
    workdir = require_workdir(workdir, "/tmp/letters")
    settings = settings_from(flag_values)
    for note in format_notes(flag_values):
        print(note, flush=True)
    check_strategy(settings.strategy, settings.model_devices)
    runs = runs_of_protocol(flag_values, settings, workdir)
    if runs[0].folder == runs[0].workdir:
        end_with_parent()
        train(runs[0].settings, workdir, flag_values.checkpoint_minutes, flag_values.report)
        return
    if settings.strategy == "multi_worker":
        raise ValueError(
            "several workers train one run at a time, not those of several folds or seeds: "
            "--mode=plan prints the command of each, to be run for every worker"
        )
    arguments = [f"--checkpoint_minutes={flag_values.checkpoint_minutes}"]
    arguments += [] if flag_values.report else ["--noreport"]
    _train_runs(runs, flag_values.processes, arguments, flag_values.report)


def _train_runs(
    runs: Sequence[PlannedRun], processes: int, arguments: Sequence[str], with_report: bool
):
    workdir = runs[0].workdir
    with Interruption(), WorkdirLock(workdir):
        move_single_run(runs)
        write_flagfile(runs)
        missing = missing_runs(runs)
        failed = []
        if missing:
            print(f"{len(runs) - len(missing)} of {len(runs)} runs are finished", flush=True)
            # Queried before the GPUs are hidden from this process.
            environments = process_environments(
                min(processes, len(missing)), missing[0].settings.strategy
            )
            if len(environments) > 1:
                print(f"the runs write their output to {workdir}/*/log.txt", flush=True)
            prepare_data(missing)
            failed = train_runs(missing, environments, arguments)
    if len(failed) < len(runs):
        tables = make_tables([workdir], published=find_published)
        print(save_tables(tables, workdir), flush=True)
        if with_report:
            write_report(tables, workdir)
    if failed:
        names = ", ".join(run.name for run in failed)
        raise RunsFailedError(f"{len(failed)} of {len(runs)} runs failed: {names}")
    files = ["report.html"] if with_report else []
    files += ["table.md", "table.csv", "differences.csv", "runs.csv"]
    print(f"\nthe results are in {workdir}: {', '.join(files)}, and a folder for each run")
