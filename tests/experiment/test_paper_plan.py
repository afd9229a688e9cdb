"""The paper's cells as runs to be made, and their hours."""

import re

import pytest

from ccp_dml.experiment.paper_plan import (
    count_classes,
    estimate_hours,
    format_plan,
    plan_cell_runs,
    plan_cells,
    settings_to_measure,
)
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.step_times import StepTimes, given_times, published_times
from tests.experiment.test_protocol import finish


def test_cells_are_those_of_the_tables_in_their_order():
    cells = plan_cells(["all"], {})
    # 13 of each data set; HPL-PA is not defined here.
    assert len(cells) == 4 * 13
    assert len({cell.name for cell in cells}) == 4 * 13
    sop = [cell for cell in cells if cell.name.startswith("sop/")]
    assert plan_cells(["sop"], {}) == sop
    assert [cell.name for cell in plan_cells(["sop/triplet", "sop/c2", "inshop/c1"], {})] == [
        "inshop/c1",
        "sop/c2",
        "sop/triplet",
    ]
    assert not [cell for cell in cells if "small" in cell.name or "dvml" in cell.name]


@pytest.mark.parametrize(
    ("name", "steps", "published"),
    [
        ("sop/c2", 62_000, True),
        ("sop/soft_triple", 48_000, True),
        ("inshop/multi_similarity_ccp", 131_000, True),
        # The steps of C2 with the same method.
        ("sop/c1", 62_000, False),
        ("inshop/c1_xbm", 93_000, False),
        # As many validations as on SOP, of 25 steps instead of 250.
        ("cub200_2011/c2_ccp", 6_900, False),
        ("cars196/triplet", 9_300, False),
        ("cars196/c1_ccp", 6_900, False),
    ],
)
def test_steps_are_published_or_assumed(name, steps, published):
    (cell,) = plan_cells([name], {})
    assert (cell.steps, cell.are_steps_published) == (steps, published)


def test_settings_that_do_not_make_it_another_cell_can_be_changed():
    (cell,) = plan_cells(["sop/c2_ccp"], {"data_dir": "/data", "patience": 5})
    assert (cell.settings.data_dir, cell.settings.patience) == ("/data", 5)
    assert cell.title == "C2-CCP-L"
    for name, value in {"loss": "triplet", "method": ("plain",), "label_noise": 0.1}.items():
        with pytest.raises(ValueError, match=f"{name} is set by the cells"):
            plan_cells(["sop/c2_ccp"], {name: value})
    with pytest.raises(ValueError, match=r"cells must be one of all, .*; got 'sop/c3'"):
        plan_cells(["sop/c3"], {})


def test_classes_that_train():
    counts = {
        name: count_classes(Settings(dataset=name))
        for name in ("cub200_2011", "cars196", "sop", "inshop")
    }
    assert counts == {"cub200_2011": 75, "cars196": 74, "sop": 8489, "inshop": 2998}


def test_hours_are_those_of_steps_and_of_images_that_are_embedded():
    times = StepTimes({"plain": 100.0, "ccp": 200.0}, 2.0, "test")
    (plain,) = plan_cells(["cub200_2011/c2"], {})
    # 248 validations up to the best one, and 60 more, of 25 steps and 5,864 / 4 images each.
    seconds = 308 * 25 * 0.1 + (309 * 1466 + 2 * 5924) * 0.002
    assert estimate_hours(plain, times) == pytest.approx(seconds / 3600)
    (ccp,) = plan_cells(["cub200_2011/c2_ccp"], {})
    # 276 and 60 validations, a round after every fourth one, and pools of 12 × 75 images.
    seconds = 336 * 25 * 0.2 + (337 * 1466 + 2 * 5924 + 85 * 12 * 75) * 0.002
    assert estimate_hours(ccp, times) == pytest.approx(seconds / 3600)
    (shorter,) = plan_cells(["cub200_2011/c2"], {"max_steps": 250})
    seconds = 10 * 25 * 0.1 + (11 * 1466 + 2 * 5924) * 0.002
    assert estimate_hours(shorter, times) == pytest.approx(seconds / 3600)
    (inshop,) = plan_cells(["inshop/c2"], {})
    # 456 and 60 validations; queries and gallery are the test images.
    seconds = 516 * 250 * 0.1 + (517 * 25882 / 4 + 2 * (14218 + 12612)) * 0.002
    assert estimate_hours(inshop, times) == pytest.approx(seconds / 3600)


def test_times_are_in_the_proportions_of_the_published_ones():
    published, twice = published_times(), given_times(194)
    assert (published.step_time("plain"), published.step_time("ccp")) == (97, 105)
    assert published.step_time("xbm") == 97
    assert published.embedding == pytest.approx(97 / 3 / 32)
    assert twice.step_time("ccp") == pytest.approx(210)
    assert twice.embedding == pytest.approx(2 * published.embedding)


def test_what_is_measured():
    settings, num_classes = settings_to_measure(plan_cells(["inshop", "sop"], {}))
    assert {name: each.method for name, each in settings.items()} == {
        "plain": ("plain",),
        "ccp": ("ccp",),
        "xbm": ("xbm",),
    }
    assert {each.dataset for each in settings.values()} == {"sop"}
    assert {each.weights for each in settings.values()} == {"none"}
    assert num_classes == 8489
    settings, num_classes = settings_to_measure(plan_cells(["cars196/c2_ccp"], {}))
    assert (list(settings), num_classes) == (["plain", "ccp"], 74)


def test_the_table_counts_the_runs_that_are_missing(tmp_path):
    cells = plan_cells(["cub200_2011/c2", "cub200_2011/c2_ccp"], {"data_dir": "/data"})
    runs = plan_cell_runs(cells, [1, 2, 3, 4], [0, 1, 2], tmp_path)
    folders = {run.folder for run in runs["cub200_2011/c2"]}
    assert tmp_path / "cub200_2011" / "c2" / "fold4_seed2" in folders
    for run in runs["cub200_2011/c2"][:9]:
        finish(run)
    times = StepTimes({"plain": 36_000.0, "ccp": 72_000.0}, 0.0, "made up")
    table = format_plan(cells, runs, times)
    lines = table.splitlines()
    rows = {line.split()[0]: re.split(r"\s\s+", line) for line in lines[2:5]}
    # 308 and 336 validations of 25 steps.
    assert rows["cub200_2011/c2"][-4:] == ["77.0", "3 of 12", "231", "924"]
    assert rows["cub200_2011/c2_ccp"][-4:] == ["168.0", "12 of 12", "2,016", "2,016"]
    assert rows["all"][-3:] == ["15 of 24", "2,247", "2,940"]
    assert "6,200 *" in rows["cub200_2011/c2"]
    assert "Step times: made up; 0 ms to embed an image." in lines
