"""Runs of a study, read from folders that tests write, and kept from its record."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from ccp_dml.experiment.flags import flagfile
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.study import Group, Study, plan_study
from ccp_dml.experiment.study_runs import (
    StudyRuns,
    add_recorded_runs,
    leave_out_recorded,
    read_recorded_runs,
    read_study_runs,
    write_recorded_runs,
)
from tests.experiment.saved_runs import save_run

STUDY = Study(
    "A study",
    {"both": Settings(), "often": Settings(method=("ccp",), max_round_validations=2)},
    (Group("main", "What it is worth", (1, 2, 3), ("both", "often")),),
    (("both:ccp", "both:plain"),),
)


def save_variant(run, map_at_r, rounds):
    results = {"seed": run.settings.seed, "before": {"map_at_r": 0.1}}
    for method in run.settings.method:
        metrics = {"map_at_r": map_at_r, "precision_at_1": 0.5, "covering_radius": 0.2}
        results[method] = {**metrics, "rounds": 1, "best_step": 50, "seconds": 1.0}
        folder = run.folder / method
        folder.mkdir(parents=True)
        history = pd.DataFrame({"step": [25, 50, 75], "val_map_at_r": [0.1, 0.2, 0.3]})
        if method == "ccp":
            history["round"] = rounds
        history.to_csv(folder / "history.csv", index=False)
    save_run(run.folder, results, run.settings.method)
    (run.folder / "flags.txt").write_text(flagfile(run.settings, run.folder))


def test_runs_are_read_from_their_folders(tmp_path):
    runs = plan_study(STUDY, tmp_path)
    with pytest.raises(ValueError, match="contains no finished run of the study"):
        read_study_runs(STUDY, tmp_path)
    of_both = [run for run in runs if run.workdir.name == "both"]
    for run, rounds in zip(of_both[:2], ([0, 0, 1], [0, 0, 0]), strict=True):
        save_variant(run, 0.25 + run.settings.seed, rounds)
    # A run with a setting that differs from the study's is another run.
    settings = dataclasses.replace(of_both[2].settings, max_steps=3)
    save_variant(dataclasses.replace(of_both[2], settings=settings), 0.9, [0, 0, 0])
    found = read_study_runs(STUDY, tmp_path)
    assert found.runs["method"].tolist() == ["plain", "ccp"] * 2
    np.testing.assert_allclose(found.runs["map_at_r"], [1.25, 1.25, 2.25, 2.25])
    steps = found.runs["first_round_steps"].tolist()
    assert steps[1] == 50
    assert all(math.isnan(steps[number]) for number in (0, 2, 3))
    validation = found.validation.set_index(["method", "seed", "step"])
    assert len(validation) == 2 * 2 * 3
    assert validation.loc[("plain", 2, 50), "validation"] == pytest.approx(0.2)


def make_recorded(rows, column):
    """A table of runs or of validation, with a number for each name and seed."""
    frame = pd.DataFrame(rows, columns=["name", "seed", column])
    return frame.assign(method="ccp", step=100)


def make_study_runs(rows):
    runs = make_recorded(rows, "map_at_r").assign(fold=1, embedding="single", best_phase="")
    return StudyRuns(runs, make_recorded(rows, "validation"))


def test_recorded_runs_are_read_as_they_were_written(tmp_path):
    write_recorded_runs(tmp_path, make_study_runs([("both", 1, 0.1), ("often", 2, 1 / 3)]))
    found = read_recorded_runs(tmp_path)
    assert found.runs["map_at_r"].tolist() == [0.1, 1 / 3]
    assert found.validation["validation"].tolist() == [0.1, 0.33333]
    (tmp_path / "validation.csv").write_text("")
    with pytest.raises(ValueError, match=r"validation\.csv is not a record"):
        read_recorded_runs(tmp_path)


def test_recorded_runs_are_kept_unless_they_were_found():
    found = make_study_runs([("often", 1, 0.1), ("both", 3, 0.3)])
    recorded = make_study_runs(
        [("both", 1, 0.9), ("often", 1, 0.9), ("unknown", 1, 0.9), ("both", 7, 0.9)]
    )
    both = add_recorded_runs(STUDY, found, recorded)
    for table, column in zip(both, ("map_at_r", "validation"), strict=True):
        rows = list(zip(table["name"], table["seed"], table[column], strict=True))
        assert rows == [("both", 1, 0.9), ("both", 3, 0.3), ("often", 1, 0.1)]


@pytest.mark.parametrize("is_own_empty", [False, True])
def test_tables_without_rows_keep_the_types_of_others(is_own_empty):
    some, none = make_study_runs([("both", 1, 0.5)]), make_study_runs([])
    both = add_recorded_runs(STUDY, *((none, some) if is_own_empty else (some, none)))
    assert both.runs["seed"].dtype == some.runs["seed"].dtype
    assert both.runs["map_at_r"].tolist() == [0.5]
    assert not len(add_recorded_runs(STUDY, none, none).validation)


def test_recorded_runs_are_left_out_of_a_plan(tmp_path):
    runs = plan_study(STUDY, tmp_path)
    left = leave_out_recorded(runs, make_study_runs([("both", 2, 0.5), ("often", 3, 0.5)]))
    assert [(run.workdir.name, run.settings.seed) for run in left] == [
        *[("both", 1), ("often", 1), ("often", 2), ("both", 3)]
    ]
