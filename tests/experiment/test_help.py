"""The help of the command line."""

import dataclasses
import re

from absl import flags

from ccp_dml.experiment.flags import define_flags
from ccp_dml.experiment.help import format_help
from ccp_dml.experiment.settings import Settings


def test_every_flag_is_in_one_group_and_in_order():
    text = format_help()
    shown = re.findall(r"^  --(?:\[no\])?(\w+)", text, flags=re.MULTILINE)
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    assert sorted(shown) == sorted(flag_values)
    names = [field.name for field in dataclasses.fields(Settings)]
    assert shown[-len(names) :] == names
    titles = re.findall(r"^(\S.*):$", text, flags=re.MULTILINE)
    assert titles[:4] == ["Examples", "Command, input and output", "Data", "Images in files"]
    assert len(set(titles)) == len(titles) == 13


def test_defaults_and_switches_are_shown():
    text = format_help()
    assert "\n  --learning_rate (default: 1e-05)\n" in text
    assert "\n  --[no]clustering (default: false)\n" in text
    assert "\n  --workdir\n" in text
