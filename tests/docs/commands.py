"""Checks of the commands that pages show."""

import pathlib
import re
from collections.abc import Sequence

from absl import flags

from ccp_dml import main

ROOT = pathlib.Path(__file__).parents[2]


def assert_flags_and_flagfiles_exist(commands: Sequence[str]):
    """Fails if a command has an unknown flag, or a flagfile that does not exist."""
    flag_values = flags.FlagValues()
    main.define_flags(flag_values)
    for command in commands:
        for name in re.findall(r"--(\w+)=", command):
            assert name == "flagfile" or name in flag_values, name
        for path in re.findall(r"--flagfile=(\S+)", command):
            assert (ROOT / path).exists(), path
