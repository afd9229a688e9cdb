"""The command line, `python -m ccp_dml.main`: flags in, one command out."""

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Sequence
from logging import getLogger
from typing import NoReturn

import tensorflow as tf
from absl import app, flags, logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.distribution.strategy_names import check_strategy
from ccp_dml.experiment import TrainingFailedError, load_benchmark, train, validate
from ccp_dml.experiment.description import describe
from ccp_dml.experiment.embedding import embed_images, list_inputs, load_embedder
from ccp_dml.experiment.evaluation import (
    adopt_preprocessing,
    load_networks,
    measure_networks,
    metric_rows,
)
from ccp_dml.experiment.flags import (
    command_line,
    define_flags,
    flagfile,
    format_preset,
    settings_from,
)
from ccp_dml.experiment.hardware import WorkerLostError, reserve_accelerators
from ccp_dml.experiment.help import format_help
from ccp_dml.experiment.image_search import as_records, draw_queries, format_queries, search_images
from ccp_dml.experiment.inspection import inspect_images
from ccp_dml.experiment.interruption import Interruption, RunInterruptedError, end_with_parent
from ccp_dml.experiment.metrics import (
    CLASS_FILE,
    interval_rows,
    metric_titles,
    write_class_metrics,
)
from ccp_dml.experiment.paper_plan import (
    FOLDS,
    SEEDS,
    format_plan,
    plan_cell_runs,
    plan_cells,
    settings_to_measure,
)
from ccp_dml.experiment.protocol import (
    FLAGFILE,
    missing_runs,
    move_single_run,
    plan_runs,
    prepare_data,
    process_environments,
    shell_command,
    train_runs,
    write_flagfile,
)
from ccp_dml.experiment.published import find_published
from ccp_dml.experiment.recommendation import recommend
from ccp_dml.experiment.run_report import ReportFailedError, write_report
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.step_times import given_times, measure_times, published_times
from ccp_dml.experiment.table import make_tables, save_tables, write_tables
from ccp_dml.experiment.tuning import Search, tune
from ccp_dml.experiment.workdir import WorkdirInUseError, WorkdirLock, write_json
from ccp_dml.inference.export import TAKEN, export
from ccp_dml.report import draw_samples, metrics_table

# Number of images of --data_dir for comparing an exported model with Keras.
_COMPARED_IMAGES = 16


def _first_line(error):
    return str(error).splitlines()[0]


def _explain_error(error):
    # TensorFlow raises the same error for a full disk and for full memory.
    if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
        reason = _first_line(error).rpartition("}} ")[-1]
        return f"{reason}; finished work is kept: free some space and run the same command again"
    if isinstance(error, OSError):
        return str(error)
    if not isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return _first_line(error)
    reason = _first_line(error) if str(error) else type(error).__name__
    return f"out of memory; use smaller batches or embeddings: {reason}"


def _stop(message, exit_code=2) -> NoReturn:
    print(f"ccp_dml: {message}", file=sys.stderr)
    sys.exit(exit_code)


def main(argv: Sequence[str]):
    """Runs the command that the flags specify.

    Args:
        argv: The rest of the command line after the flags: the program's name.
    """
    if len(argv) > 1:
        _stop(f"unexpected argument {argv[1]!r}: settings are flags, --name=value; see --help")
    _refuse_nul()
    workdir = flags.FLAGS.workdir
    if workdir and "://" not in workdir:
        # Makes printed and saved paths valid in any folder.
        workdir = os.path.abspath(workdir)
    reserve_accelerators()
    try:
        _COMMANDS[flags.FLAGS.mode](workdir)
    except RunInterruptedError as error:
        message = f"{error}; progress is saved: to resume, run {_resuming_command(workdir)}"
        _stop(message, exit_code=128 + error.signal_number)
    except WorkerLostError as error:
        command = f"{_resuming_command(workdir)} for every worker"
        _stop(f"{error}; to resume from the last checkpoint, run {command}", exit_code=1)
    except (TrainingFailedError, WorkdirInUseError) as error:
        _stop(error)
    except ValueError as error:
        logging.debug("Where the error occurred:", exc_info=error)
        _stop(_first_line(error))
    except ReportFailedError as error:
        _stop(f"{error}: {_explain_error(error.__cause__)}")
    except (OSError, MemoryError, tf.errors.ResourceExhaustedError) as error:
        _stop(_explain_error(error))
    except tf.errors.NotFoundError as error:
        _stop(f"a file no longer exists: {_first_line(error)}")
    except RuntimeError as error:
        # JAX's error has a class of its own only in its newest versions.
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        _stop(_explain_error(MemoryError(_first_line(error))))
    except KeyboardInterrupt:
        _stop("interrupted", exit_code=130)


def _resuming_command(workdir):
    if flags.FLAGS.mode != "train":
        return "the same command again"
    is_protocol = max(len(flags.FLAGS.folds), len(flags.FLAGS.seeds)) > 1
    flags_path = epath.Path(workdir) / (FLAGFILE if is_protocol else "flags.txt")
    if not flags_path.exists():
        return "the same command again"
    return command_line("-m", "ccp_dml.main", f"--flagfile={flags_path}")


def _refuse_nul():
    # Unlike a command line, a flagfile can contain NUL characters, which paths must not.
    for name, value in flags.FLAGS.flag_values_dict().items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and "\0" in each:
                _stop(f"--{name} cannot contain a NUL character; got {each!r}")


def _plan(workdir):
    flag_values = flags.FLAGS
    if not flag_values.cells:
        for name in ("measure_step", "step_ms"):
            if flag_values[name].present:
                _stop(
                    f"--{name} applies only to the hours of --cells, such as "
                    "--cells=sop,inshop/c2_ccp"
                )
        _run_protocol(workdir)
        return
    for name in ("fold", "seed"):
        if flag_values[name].present:
            _stop(f"the {name}s of --cells are given by --{name}s, such as --{name}s=1,2")
    settings = (field.name for field in dataclasses.fields(Settings))
    changes = {name: flag_values[name].value for name in settings if flag_values[name].present}
    lists = {name: tuple(value) for name, value in changes.items() if isinstance(value, list)}
    cells = plan_cells(flag_values.cells, changes | lists)
    runs = plan_cell_runs(
        cells,
        _whole_numbers("folds") or FOLDS,
        _whole_numbers("seeds") or SEEDS,
        workdir or os.getcwd(),
    )
    table = format_plan(cells, runs, _step_times(cells))
    if not workdir:
        print(table)
        return
    # Only commands go to stdout, so that they can be piped to a shell or a scheduler.
    print(table, file=sys.stderr)
    for runs_of_cell in runs.values():
        if missing := missing_runs(runs_of_cell):
            write_flagfile(runs_of_cell)
            for run in missing:
                print(shell_command(run))


def _step_times(cells):
    if flags.FLAGS.measure_step:
        if flags.FLAGS.step_ms is not None:
            _stop("either --measure_step or --step_ms gives the time of a step, not both")
        return measure_times(*settings_to_measure(cells))
    if flags.FLAGS.step_ms is not None:
        return given_times(flags.FLAGS.step_ms)
    return published_times()


def _run_protocol(workdir):
    if not workdir:
        _stop("--workdir is missing: name a folder for the results, such as --workdir=/tmp/digits")
    settings = settings_from(flags.FLAGS)
    if flags.FLAGS.mode == "train" and (preset := format_preset(flags.FLAGS)):
        print(preset, flush=True)
    check_strategy(settings.strategy, settings.model_devices)
    runs = _plan_runs(settings, workdir)
    if flags.FLAGS.mode == "plan":
        write_flagfile(runs)
        for run in missing_runs(runs):
            print(shell_command(run))
    elif len(runs) == 1:
        end_with_parent()
        train(runs[0].settings, workdir, flags.FLAGS.checkpoint_minutes, flags.FLAGS.report)
    elif settings.strategy == "multi_worker":
        _stop(
            "several workers train one run at a time, not those of several folds or seeds: "
            "--mode=plan prints the command of each, to be run for every worker"
        )
    else:
        _train_runs(runs)


def _plan_runs(settings, workdir):
    folds = _whole_numbers("folds") or [settings.fold]
    return plan_runs(settings, folds, _whole_numbers("seeds") or [settings.seed], workdir)


def _validate(workdir):
    if not workdir:
        _stop("--workdir is missing: name a folder for the results, such as --workdir=/tmp/digits")
    settings = settings_from(flags.FLAGS)
    check_strategy(settings.strategy, settings.model_devices)
    run, *others = _plan_runs(settings, workdir)
    if others:
        _stop(
            "mode validate makes a single run: give --fold and --seed in place of --folds and "
            "--seeds, or take --mode=tune"
        )
    end_with_parent()
    results = validate(run.settings, workdir, flags.FLAGS.checkpoint_minutes)
    for method in settings.method:
        value = results[method][f"validation_{settings.monitor}"]
        print(f"{method}: validation {settings.monitor} {value:.4f}")


def _tune(workdir):
    flag_values = flags.FLAGS
    if not workdir:
        _stop("--workdir is missing: name a folder for the results, such as --workdir=/tmp/tune")
    search = Search(
        settings_from(flag_values),
        flag_values.tune_space,
        flag_values.tune_trials,
        flag_values.tune_sampler,
        _whole_numbers("folds"),
        _whole_numbers("seeds"),
        flag_values.tune_pruning,
    )
    if preset := format_preset(flag_values):
        print(preset, flush=True)
    settings = search.settings
    check_strategy(settings.strategy, settings.model_devices)
    if settings.strategy == "multi_worker":
        _stop(
            "several workers train one run at a time, not trials: take --strategy=mirrored, and "
            "--tune_storage to spread the trials over machines"
        )
    arguments = [f"--checkpoint_minutes={flag_values.checkpoint_minutes}"]
    tune(search, workdir, flag_values.tune_storage, flag_values.processes, arguments)


def _whole_numbers(name):
    given = flags.FLAGS[name].value or []
    try:
        return [int(number) for number in given]
    except ValueError as error:
        raise ValueError(
            f"{name} must be whole numbers such as 1,2; got {','.join(given)}"
        ) from error


def _train_runs(runs):
    workdir = runs[0].workdir
    with Interruption(), WorkdirLock(workdir):
        move_single_run(runs)
        write_flagfile(runs)
        missing = missing_runs(runs)
        failed = []
        if missing:
            print(f"{len(runs) - len(missing)} of {len(runs)} runs are finished", flush=True)
            # Queried before the GPUs are hidden from this process.
            processes = min(flags.FLAGS.processes, len(missing))
            environments = process_environments(processes, missing[0].settings.strategy)
            if len(environments) > 1:
                print(f"the runs write their output to {workdir}/*/log.txt", flush=True)
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
    files += ["table.md", "table.csv", "differences.csv", "runs.csv"]
    print(f"\nthe results are in {workdir}: {', '.join(files)}, and a folder for each run")


def _tabulate(output):
    if not flags.FLAGS.runs:
        _stop("--runs is missing: name work folders of training, such as --runs=/runs/c2_ccp")
    tables = write_tables(flags.FLAGS.runs, output, flags.FLAGS.baseline, published=find_published)
    print(tables)
    if output:
        print(f"\nthe tables are in {output}: table.md, table.csv, differences.csv, runs.csv")


def _report(output):
    paths = flags.FLAGS.runs
    if not paths:
        _stop("--runs is missing: name work folders of training, such as --runs=/runs/c2_ccp")
    if not output:
        if len(paths) > 1 or not epath.Path(paths[0]).is_dir():
            _stop("--workdir is missing: name a folder for the report, such as --workdir=/tmp/both")
        (output,) = paths
    tables = make_tables(paths, flags.FLAGS.baseline, published=find_published)
    print(f"the report is {write_report(tables, output)}")


def _save_figure(figure, path):
    try:
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            figure.savefig(file, format="png", dpi=110)
    except (OSError, tf.errors.OpError) as error:
        _stop(f"workdir {path.parent} cannot be written to: {error}")
    return path


def _describe(workdir):
    settings = settings_from(flags.FLAGS)
    print(flagfile(settings, flags.FLAGS.workdir))
    benchmark = load_benchmark(settings)
    print(describe(benchmark, settings))
    print(f"\n{recommend(benchmark, settings)}")
    figure = draw_samples(benchmark.train, benchmark.class_names, seed=settings.seed)
    path = _save_figure(figure, epath.Path(workdir or ".") / f"{settings.dataset}_samples.png")
    print(f"\nimages of some training classes are drawn in {path}")


def _evaluate(workdir):
    paths = flags.FLAGS.networks
    if not paths:
        _stop("--networks is missing: name the networks to measure, such as --networks=model.keras")
    settings = settings_from(flags.FLAGS)
    given = [
        field.name for field in dataclasses.fields(settings) if flags.FLAGS[field.name].present
    ]
    networks = load_networks(paths)
    settings = adopt_preprocessing(networks, settings, given)
    benchmark = load_benchmark(settings)
    measured = measure_networks(networks, benchmark, settings)
    rows = metric_rows(measured)
    titles = metric_titles(rows)
    print(metrics_table("on the test classes", rows, titles))
    if intervals := interval_rows(rows):
        print(f"\n{metrics_table('95 % interval over the queries', intervals, titles)}")
    if workdir:
        folder = epath.Path(workdir)
        write_json(folder / "evaluation.json", rows)
        by_class = {name: measurement.by_class for name, measurement in measured.items()}
        write_class_metrics(folder / CLASS_FILE, by_class, benchmark.class_names)
        print(f"\nthe results are in {folder}: evaluation.json, {CLASS_FILE}")


def _load_embedder():
    """Returns the settings, for images in files unless a data set is given, and the networks."""
    flag_values = flags.FLAGS
    if not flag_values.networks:
        _stop(
            "--networks is missing: name a trained network, such as --networks=model.keras; "
            "--mode=train with --dataset=folder and the same --data_dir trains one"
        )
    settings = settings_from(flag_values)
    if not flag_values["dataset"].present:
        settings = dataclasses.replace(settings, dataset="folder")
    given = [
        field.name for field in dataclasses.fields(settings) if flag_values[field.name].present
    ]
    return settings, load_embedder(flag_values.networks, settings, given)


def _embed(workdir):
    output = flags.FLAGS.output
    if not output:
        _stop("--output is missing: name a file for the embeddings, such as gallery.parquet")
    settings, embedder = _load_embedder()
    count = embed_images(
        embedder,
        list_inputs(settings),
        output,
        flags.FLAGS.batch_size,
        settings.max_bad_images,
        settings.max_pixels,
    )
    print(f"{count} embeddings of size {embedder.embedding_size} are in {output}")


def _search(workdir):
    flag_values = flags.FLAGS
    for name, example in (("gallery", "gallery.parquet"), ("query", "image.jpg")):
        if not flag_values[name].value:
            _stop(f"--{name} is missing, such as --{name}={example}")
    settings, embedder = _load_embedder()
    queries = search_images(
        embedder,
        flag_values.gallery,
        flag_values.query,
        flag_values.k,
        flag_values.index,
        flag_values.exclude_self,
        flag_values.batch_size,
        settings.max_pixels,
    )
    picture = _save_figure(draw_queries(queries), epath.Path(workdir or ".") / "search.png")
    if flag_values.json:
        print(json.dumps({"picture": os.path.abspath(picture), "queries": as_records(queries)}))
    else:
        print(f"{format_queries(queries)}\n\nthe images are drawn in {picture}")


def _inspect(workdir):
    flag_values = flags.FLAGS
    folder = flag_values.output or workdir
    if not folder:
        _stop("--output is missing: name a folder for the results, such as --output=inspection")
    settings, embedder = _load_embedder()
    inspection = inspect_images(
        embedder,
        list_inputs(settings),
        folder,
        flag_values.k,
        flag_values.duplicate_distance,
        flag_values.batch_size,
        settings.max_bad_images,
        settings.max_pixels,
    )
    print(f"{inspection.summary}\n\nthe results are in {folder}: {', '.join(inspection.files)}")


def _export(workdir):
    flag_values = flags.FLAGS
    output = flag_values.output or workdir
    if not output:
        _stop("--output is missing: name a folder for the model, such as --output=exported")
    settings, embedder = _load_embedder()
    images = list_inputs(settings).read_some(_COMPARED_IMAGES) if settings.data_dir else []
    model = export(embedder.embedders, output, flag_values.format, images, flag_values.quantization)
    print(
        f"{model.path}: the largest difference from Keras is {model.largest_difference:.2g} over "
        f"the embeddings of {model.num_images} images"
    )
    print(
        f"it takes {TAKEN[flag_values.format]}; try it with python {model.example} one.jpg "
        "another.jpg"
    )


_COMMANDS = {
    "train": _run_protocol,
    "validate": _validate,
    "tune": _tune,
    "plan": _plan,
    "table": _tabulate,
    "report": _report,
    "describe": _describe,
    "evaluate": _evaluate,
    "embed": _embed,
    "search": _search,
    "inspect": _inspect,
    "export": _export,
}


def _parse_flags(argv):
    if "--help" in argv[1:]:
        print(format_help(), end="")
        sys.exit()
    try:
        return flags.FLAGS(argv)
    except UnicodeDecodeError as error:
        _stop(f"a flagfile is not a text file: {error}")
    except flags.CantOpenFlagFileError as error:
        _stop(
            f"{str(error).removeprefix('ERROR:: ')}; paths, including those inside flagfiles, are "
            "relative to the current folder"
        )
    except flags.Error as error:
        _stop(f"{str(error).removeprefix('ERROR:: ')}; see --help")


def run():
    """Entry point."""
    logging.set_verbosity(logging.INFO)
    # It reports every tensor that devices exchange.
    tf.get_logger().setLevel("WARNING")
    # It reports every kind of device that does not exist.
    getLogger("jax").setLevel("WARNING")
    define_flags()
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    run()
