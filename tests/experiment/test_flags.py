"""The settings as flags, and as the text of a flagfile."""

import pytest
from absl import flags

from ccp_dml.experiment.flags import (
    define_flags,
    flagfile,
    settings_from,
    settings_from_flagfile,
)
from ccp_dml.experiment.settings import Settings


def test_every_setting_has_a_flag_with_help():
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    for name in ("workdir", *Settings.__dataclass_fields__):
        assert len(flag_values[name].help) > 4
    assert "One of plain, ccp, xbm, dvml, ccp+xbm" in flag_values["method"].help


SETTINGS = Settings(
    method=("ccp+xbm", "plain"),
    loss="multi_similarity",
    loss_params={"alpha": 2.0, "beta": 1e-3},
    learning_rate=3e-7,
    first_phase_weights=(1e-3, 2.0, 0.5, 1.0),
    clustering=True,
    freeze_batch_norm=False,
)


def test_a_flagfile_gives_its_settings(tmp_path):
    (tmp_path / "flags.txt").write_text("# a comment\n\n" + flagfile(SETTINGS, "/runs/a folder"))
    assert settings_from_flagfile(tmp_path / "flags.txt") == SETTINGS
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["ccp_dml", f"--flagfile={tmp_path / 'flags.txt'}"])
    assert settings_from(flag_values) == SETTINGS
    assert flag_values.workdir == "/runs/a folder"
    assert "--workdir" not in flagfile(SETTINGS)


@pytest.mark.parametrize(
    ("loss", "params"),
    [
        ("triplet", {"distance": "cosine", "margin": 0.5, "reduction": "mean"}),
        ("my_losses:Mine", {"form": "squared", "scale": 1e-3}),
    ],
)
def test_words_among_the_parameters_of_a_loss(loss, params, tmp_path):
    settings = Settings(loss=loss, loss_params=params)
    (tmp_path / "flags.txt").write_text(flagfile(settings))
    assert settings_from_flagfile(tmp_path / "flags.txt") == settings


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--no_such_flag=1", "flags.txt: Unknown command line flag 'no_such_flag'"),
        ("--learning_rate=fast", "flags.txt: .*could not convert string to float: 'fast'"),
        ("--learning_rate=-1", "learning_rate must be above 0"),
        ("--loss_params=distance=a b", "not of the form name=number or name=word"),
        (
            "--loss_params=negative_margin=0.1, negative_margin=0.2",
            "negative_margin must be given once; got 'negative_margin=0.1, negative_margin=0.2'",
        ),
        ("--miner_params=margin=wide", "not of the form name=number$"),
    ],
)
def test_a_flagfile_that_is_wrong(line, message, tmp_path):
    (tmp_path / "flags.txt").write_text(line)
    with pytest.raises(ValueError, match=message):
        settings_from_flagfile(tmp_path / "flags.txt")


def test_a_flagfile_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        settings_from_flagfile(tmp_path / "flags.txt")


@pytest.mark.parametrize("end", ["\n", "\nimages", "\r", "\u2028x", "\x0bx"])
def test_settings_are_single_lines(end):
    with pytest.raises(ValueError, match=r"data_dir must be a single line, .*; got '/data"):
        Settings(data_dir=f"/data{end}")
