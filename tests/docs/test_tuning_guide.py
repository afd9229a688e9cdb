"""What the guide to searches shows is true."""

import pathlib
import re

from absl import flags

from ccp_dml.experiment.flags import define_flags, settings_from
from ccp_dml.experiment.search_space import KINDS
from ccp_dml.experiment.tuning import Search

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "tuning.md").read_text(encoding="utf-8")


def test_the_flagfile_is_a_search(tmp_path, monkeypatch):
    (tmp_path / "search.flags").write_text(re.search(r"```\n(.*?)```", GUIDE, re.DOTALL).group(1))
    monkeypatch.chdir(ROOT)
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["ccp_dml", f"--flagfile={tmp_path / 'search.flags'}"])
    settings = settings_from(flag_values)
    search = Search(settings, flag_values.tune_space, flag_values.tune_trials)
    assert len(search.parameters) == 5


def test_all_ranges_are_explained():
    table = GUIDE.partition("| range | values |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+):", table) + re.findall(r", `(\w+):", table)) == set(KINDS)
