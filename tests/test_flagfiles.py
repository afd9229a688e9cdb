"""The flagfiles of experiments/ can be run from any folder, and set no flag twice."""

import pathlib

import pytest
from absl import flags

from ccp_dml.experiment.flags import define_flags, flagfile, settings_from

FOLDER = pathlib.Path(__file__).parents[1] / "experiments"
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.flags"))


def parse(*arguments):
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["ccp_dml", *arguments])
    return flag_values


@pytest.mark.parametrize("path", FILES)
def test_a_flagfile_is_complete_and_gives_nothing_twice(path, tmp_path, monkeypatch):
    lines = (FOLDER / path).read_text(encoding="utf-8").splitlines()
    names = [line.split("=")[0] for line in lines if line.startswith("-")]
    assert len(set(names)) == len(names)
    # Included flagfiles would be looked up in the current folder; the others differ per user.
    assert not {"--flagfile", "--data_dir", "--workdir"} & set(names)
    monkeypatch.chdir(tmp_path)
    flag_values = parse(f"--flagfile={FOLDER / path}", f"--workdir={tmp_path}")
    settings = settings_from(flag_values)
    # The resolved flags can be passed back.
    (tmp_path / "flags.txt").write_text(flagfile(settings, tmp_path))
    again = parse(f"--flagfile={tmp_path / 'flags.txt'}")
    assert settings_from(again) == settings
    assert again.workdir == str(tmp_path)
