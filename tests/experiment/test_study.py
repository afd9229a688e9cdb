"""Studies are read and planned as their descriptions say."""

import json
import os
import pathlib

import pytest

from ccp_dml.experiment.flags import settings_from_flagfile
from ccp_dml.experiment.study import (
    plan_study,
    read_study,
    runs_by_variant,
    write_flagfiles,
)

STUDIES = pathlib.Path(__file__).parents[2] / "experiments" / "studies"
DESCRIPTION = {
    "title": "A study",
    "base": "base.flags",
    "variants": {
        "both": [],
        "often": ["--method=ccp", "--max_round_validations=2"],
        "seldom": ["--method=ccp", "--max_round_validations=5"],
    },
    "groups": [
        {"name": "main", "title": "First", "seeds": [3, 1], "variants": ["both", "often"]},
        {
            "name": "lengths",
            "title": "Second",
            "seeds": [1, 7],
            "axis": "validations",
            "minus": "both:plain",
            "points": {"2": "often", "5.5": "seldom"},
        },
    ],
    "comparisons": [["both:ccp", "both:plain"]],
}


def write_study(folder, **changes):
    (folder / "base.flags").write_text("# Shared.\n--max_steps=50\n--method=plain,ccp\n")
    (folder / "study.json").write_text(json.dumps({**DESCRIPTION, **changes}))
    return folder


def test_variants_have_the_flags_of_the_base_and_their_own(tmp_path):
    study = read_study(write_study(tmp_path))
    assert study.title == "A study"
    assert study.settings["both"].method == ("plain", "ccp")
    assert study.settings["often"].method == ("ccp",)
    assert study.settings["often"].max_round_validations == 2
    assert {settings.max_steps for settings in study.settings.values()} == {50}


def test_groups_and_comparisons(tmp_path):
    study = read_study(write_study(tmp_path))
    main, lengths = study.groups
    assert (main.name, main.variants, main.axis) == ("main", ("both", "often"), "")
    assert lengths.variants == ("often", "seldom")
    assert lengths.values == (2.0, 5.5)
    assert lengths.minus == "both:plain"
    assert study.comparisons == (("both:ccp", "both:plain"),)


def test_runs_are_planned_group_by_group_and_seed_by_seed_and_once(tmp_path):
    study = read_study(write_study(tmp_path))
    runs = plan_study(study, tmp_path / "runs")
    expected = [
        *[("both", 3), ("often", 3), ("both", 1), ("often", 1)],
        *[("seldom", 1), ("often", 7), ("seldom", 7)],
    ]
    assert [(run.workdir.name, run.settings.seed) for run in runs] == expected
    assert study.seeds("often") == [3, 1, 7]
    assert os.fspath(runs[5].folder) == os.fspath(tmp_path / "runs" / "often" / "fold1_seed7")
    assert runs[5].title == "often fold1_seed7"
    assert list(runs_by_variant(runs)) == ["both", "often", "seldom"]


def test_some_groups_are_planned_alone(tmp_path):
    study = read_study(write_study(tmp_path))
    runs = plan_study(study, tmp_path / "runs", ["lengths"])
    assert {run.workdir.name for run in runs} == {"often", "seldom"}
    with pytest.raises(ValueError, match="group must be one of main, lengths; got 'length'"):
        plan_study(study, tmp_path / "runs", ["length"])


def test_commands_take_their_settings_from_the_flagfile_of_the_variant(tmp_path):
    runs = plan_study(read_study(write_study(tmp_path)), tmp_path / "runs")
    write_flagfiles(runs)
    for run in runs:
        (flagfile,) = [each for each in run.command() if each.startswith("--flagfile=")]
        settings = settings_from_flagfile(flagfile.removeprefix("--flagfile="))
        assert settings.method == run.settings.method
        assert settings.max_round_validations == run.settings.max_round_validations
        assert f"--seeds={run.settings.seed}" in run.command()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"comparisons": [["both:ccp", "often:plain"]]}, "comparison must be one of both:plain"),
        ({"variants": {"both": ["--max_step=5"]}}, "--max_step=5: Unknown command line flag"),
        ({"variants": {"both": ["--max_steps=0"]}}, "max_steps must be at least 1; got 0"),
        ({"groups": [{"name": "main", "title": ""}]}, "'seeds' is missing"),
        ({"seeds": [1]}, "key of a study must be one of .*; got 'seeds'"),
        (
            {"groups": [{**DESCRIPTION["groups"][0], "variants": ["bot"]}]},
            "variant of main must be one of both, often, seldom; got 'bot'",
        ),
        (
            {"groups": [{**DESCRIPTION["groups"][1], "minus": "both:xbm"}]},
            "minus of lengths must be one of .*; got 'both:xbm'",
        ),
        ({"metric": "nmi"}, "metric must be one of map_at_r, .*radius; got 'nmi'"),
    ],
)
def test_what_is_wrong_in_a_description_is_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=f"study.json: {message}"):
        read_study(write_study(tmp_path, **changes))


def test_a_variant_of_one_seed_has_the_same_folders(tmp_path):
    groups = [{**DESCRIPTION["groups"][0], "seeds": [4]}]
    study = read_study(write_study(tmp_path, groups=groups, comparisons=[]))
    runs = plan_study(study, tmp_path / "runs")
    assert [run.title for run in runs] == ["both fold1_seed4", "often fold1_seed4"]
    assert f"--workdir={tmp_path / 'runs' / 'both' / 'fold1_seed4'}" in runs[0].command()


def test_a_comparison_needs_two_pairs(tmp_path):
    comparisons = [["both:ccp", "both:plain"], ["seldom:ccp", "both:plain"]]
    write_study(tmp_path, comparisons=comparisons)
    with pytest.raises(ValueError, match=r"two seeds in common; seldom:ccp and both:plain have 1$"):
        read_study(tmp_path)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*/study.json")), ids=lambda path: path.parent)
def test_the_studies_of_the_repository_can_be_planned(path, tmp_path):
    study = read_study(path.parent)
    runs = plan_study(study, tmp_path)
    assert len(runs) == sum(len(study.seeds(name)) for name in study.settings)
    # Settings are chosen on other letters, and with other seeds, than they are tested with.
    for group in study.groups:
        tuning = {
            "tuning_letters" in study.settings[each].dataset_params for each in group.variants
        }
        assert tuning == {group.name.startswith("tuning")}
        assert not (group.name.startswith("tuning") and max(group.seeds) >= 100)
