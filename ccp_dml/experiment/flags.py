"""The settings as flags of the command line."""

import dataclasses
import os
import shlex
from collections.abc import Mapping

import keras
from absl import flags
from etils import epath

from ccp_dml.experiment.presets import preset_settings
from ccp_dml.experiment.settings import Settings
from ccp_dml.inference.approximate_search import INDEXES
from ccp_dml.inference.export import FORMATS, QUANTIZATIONS

MODES = (
    "train",
    "tune",
    "validate",
    "describe",
    "plan",
    "table",
    "report",
    "evaluate",
    "embed",
    "search",
    "inspect",
    "export",
)


class _ParametersParser(flags.ArgumentParser):
    """Parses `name=number,name=number`, where a word may stand for a number if words are allowed.

    Args:
        words: Whether they are.
    """

    def __init__(self, words: bool):
        self._form = "name=number or name=word" if words else "name=number"
        self._words = words
        self.syntactic_help = f"a comma-separated list of {self._form}"

    def parse(self, argument):
        if isinstance(argument, Mapping):
            return argument
        parameters = {}
        for item in filter(None, argument.split(",")):
            name, _, value = item.partition("=")
            try:
                parameters[name.strip()] = self._parse_value(value.strip())
            except ValueError as error:
                raise ValueError(f"{item!r} is not of the form {self._form}") from error
        return parameters

    def _parse_value(self, value):
        try:
            return float(value)
        except ValueError:
            if self._words and value.isidentifier():
                return value
            raise

    def flag_type(self):
        return f"{self._form} list"


class _ParametersSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        return ",".join(
            f"{name}={each if isinstance(each, str) else repr(each)}"
            for name, each in value.items()
        )


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
    """Defines a flag for every setting, and those that say what is to be done with them."""
    flags.DEFINE_enum(
        "mode",
        "train",
        MODES,
        "train: train and compare the methods. tune: search for settings by what validation says "
        "of them; see --tune_space. validate: a run of such a search, in which the test classes "
        "are not measured. describe: print the settings, what the data set holds and how it is "
        "split, and draw some of its images as a network sees them. plan: "
        "print the commands of the runs of --folds and --seeds that are still missing, one a line; "
        "with --cells, of those cells of the paper's tables, and how many hours they will take. "
        "table: tabulate the finished runs of --runs. report: show them on one page, report.html, "
        "with figures and images. evaluate: measure saved networks on the test classes, each alone "
        "and all concatenated. embed: write the embeddings of images to a Parquet file. search: "
        "find images in such a file. inspect: list near-duplicates and suspicious labels of a data "
        "set. export: write networks as a model that needs neither Keras nor this package.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder for the results; made if it does not exist. The same command again goes on where "
        "it was interrupted; results with other settings are moved to the folder 'earlier' inside "
        "it. For describe and search, where the picture goes; the present folder if it is not "
        "given. For table and evaluate, where the tables and evaluation.json go, if it is given. "
        "For report, where report.html goes; the folder of --runs if that is a single one.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "folds",
        [],
        "Folds to train, such as 1,2,3,4: a run for each of them and each of --seeds, in folders "
        "of their own below --workdir. Overrides --fold.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "seeds", [], "Seeds to train, such as 0,1,2. Overrides --seed.", flag_values=flag_values
    )
    flags.DEFINE_integer(
        "processes",
        1,
        "Number of runs side by side, each with its share of the processor's threads or, where "
        "there are several GPUs, with one of them, or its share of them for a strategy "
        "of several devices. A TPU serves one process.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "checkpoint_minutes",
        5.0,
        "Minutes between two checkpoints of the training, from which the same command goes on.",
        lower_bound=1e-6,
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "report",
        True,
        "Whether report.html is made when a run ends; --mode=report makes it at any time.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "cells",
        [],
        "For plan: cells of the paper's tables, such as sop/c2_ccp, all of a data set, such as "
        "sop, or all. --data_dir is the folder of all data sets, and runs go to folders such as "
        "sop/c2_ccp below --workdir; without one only the hours are printed. Folds are 1,2,3,4 and "
        "seeds 0,1,2 unless they are given.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "measure_step",
        False,
        "For plan with --cells: whether training steps are measured on the device of this machine, "
        "for the hours. By default they are as long as on the paper's, an RTX 2080 Ti.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "step_ms",
        None,
        "For plan with --cells: milliseconds of a plain step of 32 images with BN-Inception on "
        "your device, instead of measuring it.",
        lower_bound=1e-6,
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "runs",
        [],
        "For table and report: folders that training left, folders of such folders, or records of "
        "runs, runs.csv.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "baseline",
        None,
        "For table and report: what all rows are compared with, name:method, such as "
        "contrastive:plain. By default the methods of a folder are compared with its first, and "
        "the folders with the first of them.",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "networks",
        [],
        "For evaluate, embed, search, inspect and export: files model.keras that training left, "
        "such as those of the four folds of the MLRC protocol. They know how images have to be "
        "prepared: --dataset and --data_dir are enough, and settings that contradict them are "
        "errors. Several are concatenated: each one's embeddings normalised, side by side, and "
        "the whole normalised.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "preset",
        "none",
        "Settings that belong together, which flags override: learning rate, network, image size, "
        "warm-up, proxies, patience. small_images: from random weights, for small or grey "
        "pictures; fine_tune: from weights of ImageNet, for photographs; paper: as in the paper's "
        "tables. --mode=describe recommends one. One of none, small_images, fine_tune, paper.",
        flag_values=flag_values,
    )
    _define_tune_flags(flag_values)
    _define_use_flags(flag_values)
    for field in dataclasses.fields(Settings):
        _define_flag(field, flag_values)


def _define_tune_flags(flag_values):
    flags.DEFINE_string(
        "tune_space",
        "",
        "For tune: the settings to search and their ranges, a comma-separated list of "
        "name=uniform:low:high, name=log:low:high, name=int:low:high, name=log_int:low:high and "
        "name=choice:value|value; of parameters as loss_params.margin. With :points at its end, a "
        "range says how many values of it a grid has. Such as "
        "learning_rate=log:1e-4:1e-2,proxies_per_class=int:1:16,miner=choice:none|semi_hard_pairs.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "tune_trials",
        40,
        "For tune: number of trials. Each trains a single --method, once for each of --folds and "
        "--seeds, and counts as the mean of what validation says, --monitor; --processes of them "
        "run side by side. The same command again goes on where it was interrupted.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "tune_sampler",
        "tpe",
        ("tpe", "random", "grid"),
        "For tune: how the values of a trial are chosen, with --seed: by what the trials before "
        "have found (a tree-structured Parzen estimator), at random, or all combinations in turn.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "tune_storage",
        None,
        "For tune: URL of a database that several machines share, such as "
        "postgresql://me@host/trials; those with the same settings divide the trials among them. "
        "By default the file tune.db in --workdir.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "tune_pruning",
        False,
        "For tune: whether a trial ends after one of its folds and seeds if their mean is below "
        "the median of the other trials after as many.",
        flag_values=flag_values,
    )


def _define_use_flags(flag_values):
    flags.DEFINE_string(
        "output",
        None,
        "For embed: the Parquet file to write. The same command again goes on where it was "
        "interrupted; a file of other images or networks is moved to the folder 'earlier' beside "
        "it. For inspect: the folder for what is found. For export: the folder for the model.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "format",
        "saved_model",
        FORMATS,
        "For export: a SavedModel takes encoded images or pixels; ONNX and TFLite cannot decode "
        "images and take pixels.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "quantization",
        "none",
        QUANTIZATIONS,
        "For export to TFLite: weights of 16 or 8 bits, a half and a quarter of the size.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "batch_size",
        256,
        "For embed, search and inspect: images that are embedded at a time.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "gallery",
        None,
        "For search: the Parquet file of embeddings that is searched, as --mode=embed writes it.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "query",
        None,
        "For search: the image to search for, or a folder or CSV file of several.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "k",
        10,
        "For search: images to find for each query. For inspect: neighbours of an image that must "
        "all carry another label than its own.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "exclude_self",
        False,
        "For search: whether a query that is itself in the gallery, the file of the same absolute "
        "path, is left out of what is found. Copies under other names are found.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "index",
        "exact",
        ("exact", *INDEXES),
        "For search: exact; or approximately with faiss, with a graph or with short codes, which "
        "is kept beside the gallery for the next search.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "json",
        False,
        "For search: whether what is found is printed as JSON, and nothing else.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "duplicate_distance",
        None,
        "For inspect: images at this distance or less are near-duplicates. By default, half "
        "of the median distance of an image from its nearest one.",
        lower_bound=0,
        flag_values=flag_values,
    )


def _define_flag(field, flag_values):
    name, help_text, choices = field.name, field.metadata["help"], field.metadata.get("choices")
    if choices:
        help_text += f" One of {', '.join(choices)}."
    if field.default_factory is dict:
        parser = _ParametersParser(words=field.metadata.get("words", False))
        flags.DEFINE(parser, name, {}, help_text, flag_values, _ParametersSerializer())
        return
    if isinstance(field.default, tuple) and isinstance(next(iter(field.default), ""), float):
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


def command_line(*arguments: str) -> str:
    """A line for a shell that runs the command line on the backend of this process.

    Args:
        *arguments: Those of Python.

    Example:

    >>> command_line("-m", "ccp_dml.main", "--workdir=/tmp/my run")
    "python -m ccp_dml.main '--workdir=/tmp/my run'"
    """
    backend = keras.backend.backend()
    choice = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
    return choice + shlex.join(["python", *arguments])


def settings_from(flag_values: flags.FlagValues) -> Settings:
    """The settings that parsed flags stand for; those that are given override the preset's.

    Raises:
        ValueError: See `Settings`, or if there is no such preset.
    """
    values = {field.name: flag_values[field.name].value for field in dataclasses.fields(Settings)}
    values |= _preset_values(flag_values)
    # Lists that are no numbers.
    values |= {name: tuple(each) for name, each in values.items() if isinstance(each, list)}
    return Settings(**values)


def format_preset(flag_values: flags.FlagValues) -> str:
    """What the chosen preset sets, as a line; empty without one.

    Raises:
        ValueError: If there is no such preset.
    """
    values = _preset_values(flag_values)
    settings = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"preset {flag_values['preset'].value}: {settings}" if values else ""


def _preset_values(flag_values):
    settings = preset_settings(flag_values["preset"].value, flag_values["dataset"].value)
    return {name: value for name, value in settings.items() if not flag_values[name].present}


def flagfile(settings: Settings, workdir: str | os.PathLike | None = None) -> str:
    """All settings as the text of a flagfile.

    Args:
        settings: The settings.
        workdir: Folder of the results. Defaults to `None`: the file does not name one.
    """
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    if workdir is not None:
        flag_values["workdir"].value = os.fspath(workdir)
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in names:
        value = getattr(settings, name)
        flag_values[name].value = list(value) if isinstance(value, tuple) else value
    shown = names if workdir is None else ["workdir", *names]
    return "".join(f"{flag_values[name].serialize()}\n" for name in shown)


def settings_from_flagfile(path: str | os.PathLike) -> Settings:
    """The settings that a flagfile stands for.

    Args:
        path: The file; any path that `etils.epath` knows.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a line is not a flag, or a setting is wrong.
    """
    try:
        return settings_from_text(epath.Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def settings_from_text(text: str) -> Settings:
    """The settings that the text of a flagfile stands for.

    Raises:
        ValueError: If a line is not a flag, or a setting is wrong.
    """
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    try:
        flag_values(["ccp_dml", *lines])
    except flags.Error as error:
        raise ValueError(str(error)) from error
    return settings_from(flag_values)
