"""Runs an experiment: `python -m ccp_dml.main --flagfile=experiments/digits.flags --workdir=…`.

With `--mode=describe` it shows the settings and the data instead, with `--mode=evaluate` it
measures networks that were trained before.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence

import tensorflow as tf
from absl import app, flags, logging
from etils import epath

from ccp_dml.description import describe
from ccp_dml.experiment import Experiment, TrainingFailedError, load_benchmark
from ccp_dml.measurement import COLUMNS, measure_networks, metrics_table
from ccp_dml.settings import Settings
from ccp_dml.visualization import draw_samples

MODES = ("train", "describe", "evaluate")

_USAGE = """Trains and compares metric-learning methods.

Examples:
  python -m ccp_dml.main --flagfile=experiments/digits.flags --workdir=/tmp/digits
  python -m ccp_dml.main --mode=describe --dataset=folder --data_dir=/data/shoes
  python -m ccp_dml.main --mode=evaluate --dataset=folder --data_dir=/data/shoes --image_size=227 \
      --backbone=bn_inception --networks=/runs/1/model.keras,/runs/2/model.keras
"""


class _NumbersParser(flags.ArgumentParser):
    """Parses `name=number,name=number`."""

    syntactic_help = "a comma-separated list of name=number"

    def parse(self, argument):
        if isinstance(argument, Mapping):
            return argument
        numbers = {}
        for item in filter(None, argument.split(",")):
            name, _, number = item.partition("=")
            try:
                numbers[name.strip()] = float(number)
            except ValueError as error:
                raise ValueError(f"{item!r} is not of the form name=number") from error
        return numbers

    def flag_type(self):
        return "name=number list"


class _NumbersSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        return ",".join(f"{name}={number!r}" for name, number in value.items())


class _FloatsParser(flags.ArgumentParser):
    """Parses `number,number`."""

    syntactic_help = "a comma-separated list of numbers"

    def parse(self, argument):
        if not isinstance(argument, str):
            return argument
        return tuple(float(number) for number in argument.split(","))

    def flag_type(self):
        return "number list"


def define_flags(flag_values: flags.FlagValues = flags.FLAGS):
    """Defines a flag for every setting, `--mode` and `--workdir`."""
    flags.DEFINE_enum(
        "mode",
        "train",
        MODES,
        "train: train and compare the methods. describe: print the settings, what the data set "
        "holds and how it is split, and draw some of its images as a network sees them. evaluate: "
        "measure saved networks on the test classes, each alone and all concatenated.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "networks",
        [],
        "For evaluate: files model.keras that training left, such as those of the four folds of "
        "the MLRC protocol. The other settings must be those of their training: values are scaled "
        "for the backbone.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder for the results; made if it does not exist. Results of an earlier run in it are "
        "moved to the folder 'earlier' inside it. For describe, where the picture goes; the "
        "present folder if it is not given. For evaluate, where evaluation.json goes, if it is "
        "given.",
        flag_values=flag_values,
    )
    for field in dataclasses.fields(Settings):
        _define_flag(field, flag_values)


def _define_flag(field, flag_values):
    name, help_text, choices = field.name, field.metadata["help"], field.metadata.get("choices")
    if choices:
        help_text += f" One of {', '.join(choices)}."
    if field.default_factory is dict:
        flags.DEFINE(_NumbersParser(), name, {}, help_text, flag_values, _NumbersSerializer())
        return
    if isinstance(field.default, tuple) and isinstance(field.default[0], float):
        serializer = flags.ListSerializer(",")
        flags.DEFINE(_FloatsParser(), name, field.default, help_text, flag_values, serializer)
        return
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_list,
    }[type(field.default)]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    define(name, default, help_text, flag_values=flag_values)


def settings_from(flag_values: flags.FlagValues) -> Settings:
    """The settings that parsed flags stand for.

    Raises:
        ValueError: See `Settings`.
    """
    values = {field.name: flag_values[field.name].value for field in dataclasses.fields(Settings)}
    return Settings(**{**values, "method": tuple(values["method"])})


def flagfile(flag_values: flags.FlagValues) -> str:
    """All settings as the text of a flagfile."""
    names = ["workdir", *(field.name for field in dataclasses.fields(Settings))]
    return "".join(f"{flag_values[name].serialize()}\n" for name in names)


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
            f"{str(error).removeprefix('ERROR:: ')}; paths inside flagfiles are relative to the "
            "present folder: those of experiments/ are to be run from the root of the repository"
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
