"""The settings as flags of the command line."""

import dataclasses
import os
import shlex
from collections.abc import Mapping

import keras
from absl import flags
from etils import epath

from ccp_dml.data import DATASETS_IN_MEMORY
from ccp_dml.experiment.command_flags import define_command_flags
from ccp_dml.experiment.presets import preset_settings
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.settings.data import ImageSettings

# With these, CCP did not help in experiments/studies/losses, which says why.
_LOSSES_WITHOUT_CCP = ("proxy_anchor", "soft_triple", "sub_center_arcface")


class _ParametersParser(flags.ArgumentParser):
    """Parses `name=number,name=number`, with words in place of numbers if allowed.

    Args:
        words: Whether words are allowed.
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
            name, value = (part.strip() for part in item.partition("=")[::2])
            if name in parameters:
                raise ValueError(f"{name} must be given once; got {argument!r}")
            try:
                parameters[name] = self._parse_value(value)
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
    """Defines the flags of the commands, and one for every setting."""
    define_command_flags(flag_values)
    for field in dataclasses.fields(Settings):
        _define_flag(field, flag_values)


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
    """Returns a shell command that runs this command line on the backend of this process.

    Args:
        *arguments: Arguments of Python.

    Example:

    >>> command_line("-m", "ccp_dml.main", "--workdir=/tmp/my run")
    "python -m ccp_dml.main '--workdir=/tmp/my run'"
    """
    backend = keras.backend.backend()
    choice = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
    return choice + shlex.join(["python", *arguments])


def settings_from(flag_values: flags.FlagValues) -> Settings:
    """Returns the settings of parsed flags; given flags override the preset.

    Raises:
        ValueError: See `Settings`, or if there is no such preset.
    """
    values = {field.name: flag_values[field.name].value for field in dataclasses.fields(Settings)}
    values |= _preset_values(flag_values)
    # Lists of things other than numbers.
    values |= {name: tuple(each) for name, each in values.items() if isinstance(each, list)}
    return Settings(**values)


def format_notes(flag_values: flags.FlagValues) -> list[str]:
    """Returns notes on effects of the given flags that a user might not expect.

    One says what the chosen preset sets, if there is one; another which flags have no effect,
    because they are for images in files and the images of the data set are in memory; another that
    the loss is better used without CCP.

    Raises:
        ValueError: If there is no such preset.
    """
    notes = []
    dataset, values = flag_values["dataset"].value, dict(_preset_values(flag_values))
    without_effect = []
    if dataset in DATASETS_IN_MEMORY:
        for field in dataclasses.fields(ImageSettings):
            values.pop(field.name, None)
            if flag_values[field.name].value != flag_values[field.name].default:
                without_effect.append(flag_values[field.name].serialize().partition("=")[0])
    if values:
        settings = ", ".join(f"{name}={value}" for name, value in values.items())
        notes.append(f"preset {flag_values['preset'].value}: {settings}")
    if without_effect:
        names = ", ".join(without_effect)
        notes.append(f"no effect on {dataset}, whose images are in memory: {names}")
    loss, methods = flag_values["loss"].value, flag_values["method"].value or ()
    if loss in _LOSSES_WITHOUT_CCP and any("ccp" in method.split("+") for method in methods):
        notes.append(
            f"CCP has not helped with {loss} in our studies: "
            "docs/guides/choosing_a_method.md says why"
        )
    return notes


def _preset_values(flag_values):
    settings = preset_settings(flag_values["preset"].value, flag_values["dataset"].value)
    return {name: value for name, value in settings.items() if not flag_values[name].present}


def flagfile(settings: Settings, workdir: str | os.PathLike | None = None) -> str:
    """Returns all settings as the text of a flagfile.

    Args:
        settings: The settings.
        workdir: Folder of the results. Defaults to `None`: the file does not contain one.
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
    """Returns the settings of a flagfile.

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
    """Returns the settings in the text of a flagfile.

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
