"""The help of the command line, in groups.

It is a file in the package, because it contains names from all parts of the package, and importing
these takes seconds. `python -m ccp_dml.experiment.help` rewrites it.
"""

import dataclasses
import pathlib
import textwrap

from absl import flags

from ccp_dml.experiment.command_flags import define_command_flags
from ccp_dml.experiment.flags import define_flags
from ccp_dml.experiment.settings import SETTING_GROUPS

HELP_FILE = pathlib.Path(__file__).with_name("help.txt")
"""What `--help` prints."""

_WIDTH = 100
_INTRODUCTION = """\
Trains, compares and evaluates metric-learning methods; searches and inspects images with trained
networks, and exports the networks. Settings are flags, --name=value, or lines of a file given by
--flagfile.

Examples:

  Train two methods on letters that need no download, in about two minutes:
    python -m ccp_dml.main --flagfile=experiments/letters.flags --workdir=/tmp/letters

  Train on images in one folder per class, with four folds and two seeds, two runs at a time:
    python -m ccp_dml.main --dataset=folder --data_dir=shoes --preset=fine_tune \\
        --backbone=resnet50 --weights=imagenet --folds=1,2,3,4 --seeds=0,1 --processes=2 \\
        --workdir=/tmp/shoes

  Embed images with a trained network, to search them with --mode=search:
    python -m ccp_dml.main --mode=embed --networks=/tmp/shoes/model.keras --data_dir=shoes \\
        --output=shoes.parquet
"""


def format_help() -> str:
    """Returns examples, and all flags in groups with their defaults and meanings."""
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    groups = {
        title: [field.name for field in dataclasses.fields(group)]
        for title, group in SETTING_GROUPS.items()
    }
    command_flags = flag_values.flags_by_module_dict()[define_command_flags.__module__]
    groups = {"Command, input and output": [flag.name for flag in command_flags]} | groups
    listed = (
        f"\n{title}:\n\n" + "".join(_format_flag(flag_values[name]) for name in names)
        for title, names in groups.items()
    )
    return _INTRODUCTION + "".join(listed)


def _format_flag(flag):
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    default = f" (default: {_format_default(flag)})" if flag.value not in (None, [], {}, "") else ""
    indent = " " * 6
    text = textwrap.fill(flag.help, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"  --{name}{default}\n{text}\n"


def _format_default(flag):
    return str(flag.value).lower() if flag.boolean else flag.serialize().partition("=")[2]


if __name__ == "__main__":
    HELP_FILE.write_text(format_help(), encoding="utf-8")
