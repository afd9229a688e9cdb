"""Runs an experiment: `python -m ccp_dml.main --flagfile=experiments/digits.flags --workdir=…`.

With `--mode=describe` it shows the settings and the data instead, with `--mode=evaluate` it
measures networks that were trained before.
"""

import json
import sys
from collections.abc import Sequence

import tensorflow as tf
from absl import app, flags, logging
from etils import epath

from ccp_dml.experiment.description import describe
from ccp_dml.experiment.evaluation import COLUMNS, measure_networks
from ccp_dml.experiment.flags import define_flags, flagfile, settings_from
from ccp_dml.experiment.run import Experiment, TrainingFailedError, load_benchmark
from ccp_dml.report import draw_samples, metrics_table

_USAGE = """Trains and compares metric-learning methods.

Examples:
  python -m ccp_dml.main --flagfile=experiments/digits.flags --workdir=/tmp/digits
  python -m ccp_dml.main --mode=describe --dataset=folder --data_dir=/data/shoes
  python -m ccp_dml.main --mode=evaluate --dataset=folder --data_dir=/data/shoes --image_size=227 \
      --backbone=bn_inception --networks=/runs/1/model.keras,/runs/2/model.keras
"""


def _first_line(error):
    return str(error).splitlines()[0]


def _stop(message):
    print(f"ccp_dml: {message}", file=sys.stderr)
    sys.exit(2)


def main(argv: Sequence[str]):
    """Runs the experiment that the parsed flags stand for.

    Args:
        argv: What is left of the command line after the flags: the program's name.
    """
    if len(argv) > 1:
        _stop(f"unexpected argument {argv[1]!r}: settings are flags, --name=value; see --help")
    workdir = flags.FLAGS.workdir
    try:
        if flags.FLAGS.mode == "describe":
            _describe(epath.Path(workdir or "."))
        elif flags.FLAGS.mode == "evaluate":
            _evaluate(workdir)
        else:
            _train(workdir)
    except (TrainingFailedError, OSError) as error:
        _stop(error)
    except tf.errors.NotFoundError as error:
        _stop(f"a file is gone: {_first_line(error)}")
    except tf.errors.ResourceExhaustedError as error:
        _stop(f"out of memory, take smaller batches or embeddings: {_first_line(error)}")
    except KeyboardInterrupt:
        _stop(f"interrupted; what was finished is in {workdir}" if workdir else "interrupted")


def _train(workdir):
    if not workdir:
        _stop("--workdir is missing: name a folder for the results, such as --workdir=/tmp/digits")
    try:
        experiment = Experiment(settings_from(flags.FLAGS), workdir)
        experiment.prepare(flagfile(flags.FLAGS))
    except ValueError as error:
        _stop(error)
    experiment.run()


def _describe(folder):
    try:
        settings = settings_from(flags.FLAGS)
        print(flagfile(flags.FLAGS))
        benchmark = load_benchmark(settings)
        print(describe(benchmark, settings))
    except ValueError as error:
        _stop(error)
    figure = draw_samples(benchmark.train, benchmark.class_names, seed=settings.seed)
    path = folder / f"{settings.dataset}_samples.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
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
        measured = measure_networks(paths, load_benchmark(settings), settings)
    except ValueError as error:
        _stop(_first_line(error))
    print(metrics_table("on the test classes", measured, COLUMNS))
    if workdir:
        folder = epath.Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(measured, indent=2) + "\n")


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
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    run()
