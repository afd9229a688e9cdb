r"""Trains, compares and evaluates metric-learning methods.

`--mode` says what is done: `train` makes a run, or one for each of `--folds` and `--seeds`; `plan`
prints the commands of those that are missing; `table` tabulates finished runs, and `report` shows
them with figures and images on one page; `describe` shows the settings and the data; `evaluate`
measures networks that were trained before.

Examples:

  python -m ccp_dml.main --flagfile=experiments/digits.flags --workdir=/tmp/digits
  python -m ccp_dml.main --flagfile=experiments/paper/cub200_2011/c2_ccp.flags \
      --data_dir=/data/cub --workdir=/runs/c2_ccp --folds=1,2,3,4 --seeds=0,1,2 --processes=2
  python -m ccp_dml.main --mode=table --runs=/runs/c2,/runs/c2_ccp
  python -m ccp_dml.main --mode=report --runs=/runs/c2,/runs/c2_ccp --workdir=/runs/both
  python -m ccp_dml.main --mode=describe --dataset=folder --data_dir=/data/shoes
  python -m ccp_dml.main --mode=evaluate --dataset=folder --data_dir=/data/shoes \
      --networks=/runs/1/model.keras,/runs/2/model.keras
"""

import dataclasses
import errno
import os
import shlex
import sys
from collections.abc import Sequence

import tensorflow as tf
from absl import app, flags, logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.experiment import TrainingFailedError, load_benchmark, train
from ccp_dml.experiment.description import describe
from ccp_dml.experiment.evaluation import (
    COLUMNS,
    adopt_preprocessing,
    load_networks,
    measure_networks,
)
from ccp_dml.experiment.flags import define_flags, flagfile, settings_from
from ccp_dml.experiment.interruption import Interruption, RunInterruptedError, end_with_parent
from ccp_dml.experiment.protocol import (
    FLAGFILE,
    make_room,
    missing_runs,
    plan_runs,
    prepare_data,
    process_environments,
    shell_command,
    train_runs,
    write_flagfile,
)
from ccp_dml.experiment.published import find_published
from ccp_dml.experiment.run_report import ReportFailedError, write_report
from ccp_dml.experiment.table import make_tables, save_tables, write_tables
from ccp_dml.experiment.workdir import WorkdirInUseError, WorkdirLock, write_json
from ccp_dml.report import draw_samples, metrics_table


def _first_line(error):
    return str(error).splitlines()[0]


def _explain_error(error):
    # TensorFlow raises the same error for a full disk and for a full memory.
    if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
        reason = _first_line(error).rpartition("}} ")[-1]
        return f"{reason}; what was done is kept: make room and run the same command again"
    if isinstance(error, OSError):
        return str(error)
    if not isinstance(error, tf.errors.ResourceExhaustedError):
        return _first_line(error)
    return f"out of memory, take smaller batches or embeddings: {_first_line(error)}"


def _stop(message, exit_code=2):
    print(f"ccp_dml: {message}", file=sys.stderr)
    sys.exit(exit_code)


def main(argv: Sequence[str]):
    """Does what the flags say.

    Args:
        argv: What is left of the command line after the flags: the program's name.
    """
    if len(argv) > 1:
        _stop(f"unexpected argument {argv[1]!r}: settings are flags, --name=value; see --help")
    workdir = flags.FLAGS.workdir
    if workdir and "://" not in workdir:
        # What is printed and written for later holds in any folder.
        workdir = os.path.abspath(workdir)
    try:
        _COMMANDS[flags.FLAGS.mode](workdir)
    except RunInterruptedError as error:
        is_protocol = max(len(flags.FLAGS.folds), len(flags.FLAGS.seeds)) > 1
        flags_path = epath.Path(workdir) / (FLAGFILE if is_protocol else "flags.txt")
        command = "the same command again"
        if flags_path.exists():
            command = shlex.join(["python", "-m", "ccp_dml.main", f"--flagfile={flags_path}"])
        message = f"{error}; what was done is saved: to go on, run {command}"
        _stop(message, exit_code=128 + error.signal_number)
    except (TrainingFailedError, WorkdirInUseError) as error:
        _stop(error)
    except ReportFailedError as error:
        _stop(f"{error}: {_explain_error(error.__cause__)}")
    except (OSError, tf.errors.ResourceExhaustedError) as error:
        _stop(_explain_error(error))
    except tf.errors.NotFoundError as error:
        _stop(f"a file is gone: {_first_line(error)}")
    except KeyboardInterrupt:
        _stop("interrupted", exit_code=130)


def _run_protocol(workdir):
    if not workdir:
        _stop("--workdir is missing: name a folder for the results, such as --workdir=/tmp/digits")
    try:
        settings = settings_from(flags.FLAGS)
        runs = plan_runs(
            settings,
            _whole_numbers("folds") or [settings.fold],
            _whole_numbers("seeds") or [settings.seed],
            workdir,
        )
        if flags.FLAGS.mode == "plan":
            write_flagfile(runs)
            for run in missing_runs(runs):
                print(shell_command(run))
        elif len(runs) == 1:
            end_with_parent()
            train(runs[0].settings, workdir, flags.FLAGS.checkpoint_minutes, flags.FLAGS.report)
        else:
            _train_runs(runs)
    except ValueError as error:
        logging.debug("Where this was found:", exc_info=error)
        _stop(_first_line(error))


def _whole_numbers(name):
    try:
        return [int(number) for number in flags.FLAGS[name].value]
    except ValueError as error:
        given = ",".join(flags.FLAGS[name].value)
        raise ValueError(f"{name} must be whole numbers such as 1,2; got {given}") from error


def _train_runs(runs):
    workdir = runs[0].workdir
    with Interruption(), WorkdirLock(workdir):
        make_room(runs)
        write_flagfile(runs)
        missing = missing_runs(runs)
        failed = []
        if missing:
            print(f"{len(runs) - len(missing)} of {len(runs)} runs are finished", flush=True)
            # Asked before the GPUs are hidden from this process.
            environments = process_environments(min(flags.FLAGS.processes, len(missing)))
            if len(environments) > 1:
                print(f"what the runs say goes to {workdir}/*/log.txt", flush=True)
            prepare_data(missing)
            arguments = [f"--checkpoint_minutes={flags.FLAGS.checkpoint_minutes}"]
            arguments += [] if flags.FLAGS.report else ["--noreport"]
            failed = train_runs(missing, environments, arguments)
    if len(failed) < len(runs):
        tables = make_tables([workdir], published=find_published)
        print(save_tables(tables, workdir), flush=True)
        if flags.FLAGS.report:
            write_report(tables, workdir)
    if failed:
        _stop(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(run.name for run in failed)}", 1
        )
    files = ["report.html"] if flags.FLAGS.report else []
    files += ["table.md", "table.csv", "runs.csv"]
    print(f"\neverything is in {workdir}: {', '.join(files)}, and a folder for each run")


def _tabulate(output):
    if not flags.FLAGS.runs:
        _stop("--runs is missing: name folders that training left, such as --runs=/runs/c2_ccp")
    try:
        tables = write_tables(
            flags.FLAGS.runs, output, flags.FLAGS.baseline, published=find_published
        )
        print(tables)
    except ValueError as error:
        _stop(_first_line(error))


def _report(output):
    paths = flags.FLAGS.runs
    if not paths:
        _stop("--runs is missing: name folders that training left, such as --runs=/runs/c2_ccp")
    if not output:
        if len(paths) > 1 or not epath.Path(paths[0]).is_dir():
            _stop("--workdir is missing: name a folder for the report, such as --workdir=/tmp/both")
        (output,) = paths
    try:
        tables = make_tables(paths, flags.FLAGS.baseline, published=find_published)
    except ValueError as error:
        _stop(_first_line(error))
    print(f"the report is {write_report(tables, output)}")


def _describe(workdir):
    folder = epath.Path(workdir or ".")
    try:
        settings = settings_from(flags.FLAGS)
        print(flagfile(settings, flags.FLAGS.workdir))
        benchmark = load_benchmark(settings)
        print(describe(benchmark, settings))
    except ValueError as error:
        _stop(error)
    figure = draw_samples(benchmark.train, benchmark.class_names, seed=settings.seed)
    path = folder / f"{settings.dataset}_samples.png"
    try:
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            figure.savefig(file, format="png", dpi=110)
    except (OSError, tf.errors.OpError) as error:
        _stop(f"workdir {folder} cannot be written to: {error}")
    print(f"\nimages of some training classes are drawn in {path}")


def _evaluate(workdir):
    paths = flags.FLAGS.networks
    if not paths:
        _stop("--networks is missing: name the networks to measure, such as --networks=model.keras")
    try:
        settings = settings_from(flags.FLAGS)
        given = [
            field.name for field in dataclasses.fields(settings) if flags.FLAGS[field.name].present
        ]
        networks = load_networks(paths)
        settings = adopt_preprocessing(networks, settings, given)
        measured = measure_networks(networks, load_benchmark(settings), settings)
    except ValueError as error:
        _stop(_first_line(error))
    print(metrics_table("on the test classes", measured, COLUMNS))
    if workdir:
        write_json(epath.Path(workdir) / "evaluation.json", measured)


_COMMANDS = {
    "train": _run_protocol,
    "plan": _run_protocol,
    "table": _tabulate,
    "report": _report,
    "describe": _describe,
    "evaluate": _evaluate,
}


def _parse_flags(argv):
    try:
        return flags.FLAGS(argv)
    except UnicodeDecodeError as error:
        _stop(f"a flagfile is not a text file: {error}")
    except flags.CantOpenFlagFileError as error:
        _stop(
            f"{str(error).removeprefix('ERROR:: ')}; paths, those inside flagfiles too, are "
            "relative to the present folder"
        )
    except flags.Error as error:
        _stop(f"{str(error).removeprefix('ERROR:: ')}; see --help")


def run():
    """Entry point."""
    logging.set_verbosity(logging.INFO)
    define_flags()
    # So that --help lists them.
    flags.adopt_module_key_flags(sys.modules[define_flags.__module__])
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    run()
