"""The help of the command line, in groups."""

import dataclasses
import textwrap

from absl import flags

from ccp_dml.experiment.flags import define_flags
from ccp_dml.experiment.settings import Settings

# The first setting of each group, in the order of `Settings`.
_GROUPS = {
    "dataset": "Data",
    "image_size": "Images in files",
    "method": "Method and loss",
    "backbone": "Network",
    "classes_per_batch": "Batches and validation",
    "learning_rate": "Optimizer",
    "proxies_per_class": "Proxies and rounds (ccp)",
    "memory_batches": "Cross-batch memory (xbm)",
    "variational_samples": "Variational metric learning (dvml)",
    "clustering": "Measurement, machine and figures",
}
_WIDTH = 100


def format_help() -> str:
    """Lists the flags with their defaults and meanings: what is to be done, then the settings."""
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    settings = [field.name for field in dataclasses.fields(Settings)]
    defined = flag_values.flags_by_module_dict()[define_flags.__module__]
    groups = {"What is done": [flag.name for flag in defined if flag.name not in settings]}
    title = ""
    for name in settings:
        title = _GROUPS.get(name, title)
        groups.setdefault(title, []).append(name)
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
