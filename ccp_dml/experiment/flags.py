"""The settings as flags of the command line."""

import dataclasses
from collections.abc import Mapping

from absl import flags

from ccp_dml.experiment.settings import Settings

MODES = ("train", "describe", "evaluate")


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
