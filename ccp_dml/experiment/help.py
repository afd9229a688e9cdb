"""The help of the command line, in groups."""

import dataclasses
import textwrap

from absl import flags

from ccp_dml.experiment.flags import define_flags
from ccp_dml.experiment.settings import SETTING_GROUPS

_WIDTH = 100


def format_help() -> str:
    """Lists the flags with their defaults and meanings: what is to be done, then the settings."""
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    groups = {
        title: [field.name for field in dataclasses.fields(group)]
        for title, group in SETTING_GROUPS.items()
    }
    settings = {name for names in groups.values() for name in names}
    defined = flag_values.flags_by_module_dict()[define_flags.__module__]
    groups = {"What is done": [flag.name for flag in defined if flag.name not in settings]} | groups
    return "\n\n".join(
        f"{title}:\n\n" + "\n".join(_format_flag(flag_values[name]) for name in names)
        for title, names in groups.items()
    )


def _format_flag(flag):
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    default = f" (default: {_format_default(flag)})" if flag.value not in (None, [], {}, "") else ""
    indent = " " * 6
    text = textwrap.fill(flag.help, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"  --{name}{default}\n{text}"


def _format_default(flag):
    return str(flag.value).lower() if flag.boolean else flag.serialize().partition("=")[2]
