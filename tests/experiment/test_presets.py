"""Settings that belong together."""

import dataclasses

import pytest
from absl import flags

from ccp_dml.experiment.flags import define_flags, format_notes, settings_from
from ccp_dml.experiment.paper_cells import cells
from ccp_dml.experiment.presets import PRESETS, preset_settings
from ccp_dml.experiment.settings import Settings


def parse(*arguments):
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    flag_values(["ccp_dml", *arguments])
    return flag_values


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", ["folder", "glyphs", "sop"])
def test_presets_are_settings_and_flags_override_them(preset, dataset):
    given = ["--dataset=" + dataset, "--learning_rate=0.25", "--noflip"]
    settings = settings_from(parse(f"--preset={preset}", *given))
    expected = {**preset_settings(preset, dataset), "learning_rate": 0.25, "flip": False}
    for name, value in expected.items():
        assert getattr(settings, name) == value, name
    others = dataclasses.replace(Settings(dataset=dataset), **expected)
    assert settings == others


def test_what_belongs_to_the_user_is_not_set():
    for preset in PRESETS:
        assert not {"dataset", "data_dir", "method", "loss", "loss_params", "seed"} & set(
            preset_settings(preset, "cars196")
        )


@pytest.mark.parametrize("dataset", ["sop", "cub200_2011"])
def test_the_paper_is_that_of_the_data_set(dataset):
    settings = settings_from(parse("--preset=paper", f"--dataset={dataset}", "--method=ccp"))
    cell = Settings(**cells(dataset)["c2_ccp"].settings)
    same = dataclasses.replace(
        settings,
        loss_params=cell.loss_params,
        cache=cell.cache,
        validation=cell.validation,
    )
    assert same == cell


def test_what_a_preset_sets_is_printed():
    assert format_notes(parse()) == []
    (line,) = format_notes(parse("--preset=fine_tune", "--dataset=sop", "--image_size=160"))
    assert line.startswith("preset fine_tune: backbone=resnet50, weights=imagenet, ")
    assert "image_size" not in line


def test_flags_of_images_in_files_have_no_effect_on_others():
    given = "--crop_area=0.64,1", "--noflip", "--image_size=227", "--learning_rate=1"
    assert format_notes(parse("--dataset=folder", *given)) == []
    (line,) = format_notes(parse("--dataset=glyphs", *given))
    assert line == "no effect on glyphs, whose images are in memory: --crop_area, --noflip"
    (line,) = format_notes(parse("--dataset=glyphs", "--preset=small_images"))
    assert "pooling=max" in line
    assert "crop_area" not in line


def test_losses_that_are_better_without_ccp_are_named():
    assert format_notes(parse("--loss=soft_triple", "--method=plain")) == []
    assert format_notes(parse("--loss=n_pair", "--method=ccp")) == []
    (line,) = format_notes(parse("--loss=soft_triple", "--method=plain,ccp+xbm"))
    assert line.startswith("CCP has not helped with soft_triple")


def test_a_misspelt_preset_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"got 'fine-tune': did you mean fine_tune\?"):
        settings_from(parse("--preset=fine-tune"))
