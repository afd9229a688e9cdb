"""Records of runs: from folders, and to a file and back."""

import json
import math
import os
import pathlib
import shutil

import pandas as pd
import pytest

from ccp_dml.experiment.records import add_rows, read_record, read_runs, write_record
from ccp_dml.experiment.run_folders import find_runs
from tests.experiment.saved_runs import save_run

ROOT = pathlib.Path(__file__).parents[2]
MEASURED = {"map_at_r": 1 / 3, "precision_at_1": 0.1 + 0.2, "r_precision": 0.25}
TRAINED = {"steps": 200, "rounds": 2, "seconds": 12.75, "best_step": 125, "best_phase": ""}


def results(seed=0, fold=1, **methods):
    methods = methods or {"plain": {}, "ccp": {}}
    return {
        "seed": seed,
        "fold": fold,
        "versions": {"keras": "3.12"},
        "before": {**MEASURED, "steps": 0, "rounds": 0, "seconds": 0.0},
        **{name: {**MEASURED, **TRAINED, **more} for name, more in methods.items()},
    }


@pytest.fixture
def protocol(tmp_path):
    """Two folds of two seeds; one of the four runs was killed."""
    folder = tmp_path / "c2"
    for fold in (1, 2):
        for seed in (9, 10):
            save_run(folder / f"fold{fold}_seed{seed}", results(seed, fold), embedding_size=64)
    (folder / "fold2_seed10" / "results.json").unlink()
    (folder / "earlier" / "moment").mkdir(parents=True)
    shutil.copy(folder / "fold1_seed9" / "results.json", folder / "earlier" / "moment")
    (folder / "table.md").touch()
    return folder


def keys(runs):
    return list(runs[["name", "fold", "seed", "method"]].itertuples(index=False, name=None))


def test_a_protocol_folder(protocol):
    record = read_runs([str(protocol)])
    assert keys(record.runs) == [
        ("c2", fold, seed, method)
        for fold, seed in [(1, 9), (1, 10), (2, 9)]
        for method in ("before", "plain", "ccp")
    ]
    assert record.notes == ("c2: left out 1 run that is not finished (fold2_seed10).",)
    assert record.folds == {"c2": {1, 2}}
    assert [run.folder.name for run in record.folders["c2"]] == [
        *("fold1_seed9", "fold1_seed10", "fold2_seed9")
    ]
    assert set(record.runs["embedding"]) == {"single"}
    assert set(record.runs["embedding_size"]) == {64}
    assert set(record.runs["map_at_r"]) == {1 / 3}


def test_a_run_folder(protocol):
    record = read_runs([protocol / "fold1_seed10"])
    assert keys(record.runs)[0] == ("fold1_seed10", 1, 10, "before")
    assert record.folds == {"fold1_seed10": {1}}


def test_data_that_are_not_split_in_folds(tmp_path):
    for seed in (0, 1):
        of_run = results(seed)
        del of_run["fold"]
        save_run(tmp_path / "digits" / f"seed{seed}", of_run, fold=1)
    assert {key[1:3] for key in keys(read_runs([tmp_path / "digits"]).runs)} == {(1, 0), (1, 1)}


def test_older_results(tmp_path):
    of_run = results(seed=4)
    del of_run["fold"]
    for method in ("plain", "ccp"):
        del of_run[method]["best_phase"]
    save_run(tmp_path / "fold3", of_run, fold=3)
    runs = read_runs([tmp_path / "fold3"]).runs
    assert keys(runs)[-1] == ("fold3", 3, 4, "ccp")
    assert set(runs["best_phase"]) == {""}


def test_baselines_come_first(tmp_path):
    baselines = {"raw_pixels": {"map_at_r": 0.02}, "pooled_features": {"map_at_r": 0.11}}
    save_run(tmp_path / "run", {**results(), **baselines})
    runs = read_runs([tmp_path / "run"]).runs
    assert list(runs["method"]) == ["raw_pixels", "pooled_features", "before", "plain", "ccp"]
    assert list(runs["map_at_r"])[:2] == [0.02, 0.11]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"seed": 0, "bef',
        "[1, 2]",
        "[" * 100_000 + "]" * 100_000,
        json.dumps(results(plain={})),
        json.dumps({**results(), "ccp": None}),
    ],
)
def test_runs_without_all_results_are_not_finished(text, tmp_path):
    save_run(tmp_path / "c2" / "seed0", results())
    save_run(tmp_path / "c2" / "seed1", results(seed=1))
    (tmp_path / "c2" / "seed1" / "results.json").write_text(text)
    found = find_runs(read_runs([tmp_path / "c2"]).folders["c2"][0].folder.parent)
    assert [run.seed for run in found.runs] == [0]
    assert list(found.unfinished) == ["seed1"]


def test_names_are_made_unique(tmp_path):
    for above in ("old/sop", "new/sop", "new/cub"):
        save_run(tmp_path / above / "c2" / "seed0", results())
    save_run(tmp_path / "new" / "cub" / "c1" / "seed0", results())
    paths = [tmp_path / name for name in ("old/sop/c2", "new/sop/c2", "new/cub/c2", "new/cub/c1")]
    names = list(dict.fromkeys(read_runs(paths).runs["name"]))
    assert names == ["old/sop/c2", "new/sop/c2", "cub/c2", "c1"]


def test_a_record_beside_the_folder_that_it_is_of(tmp_path):
    save_run(tmp_path / "c2" / "seed0", results())
    runs = read_runs([tmp_path / "c2"]).runs
    write_record(tmp_path / "runs.csv", runs)
    both = read_runs([tmp_path / "c2", tmp_path / "runs.csv"])
    assert len(both.runs) == 2 * len(runs)
    assert len(set(both.runs["name"])) == 2
    assert list(both.folders) == [both.runs["name"].iloc[0]]


def test_a_record_is_read_as_it_was_written(protocol, tmp_path):
    runs = read_runs([protocol]).runs
    extremes = [0.1 + 0.2, 1e-300, 5e-324, 123456789.12345679, 2 / 3, math.pi, 1.0, math.nan, 0.3]
    runs["covering_radius"] = extremes
    more = {"name": "c2", "seed": 9, "method": "ccp", "embedding": "concatenated", "map_at_r": 0.1}
    runs = add_rows(runs, [{**more, "embedding_size": 128}])
    write_record(tmp_path / "records" / "runs.csv", runs)
    again = read_record(tmp_path / "records" / "runs.csv")
    pd.testing.assert_frame_equal(again, runs, check_exact=True)
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["runs.csv"]
    assert pd.isna(again["fold"].iloc[-1])


def test_the_record_of_the_letters():
    path = ROOT / "experiments" / "letters" / "runs.csv"
    runs = read_record(path)
    text = path.read_text().splitlines()
    assert len(runs) == len(text) - 1 == 8 * 5
    for column in ("map_at_r", "validation_map_at_r"):
        position = text[0].split(",").index(column)
        written = [line.split(",")[position] for line in text[1:]]
        assert [repr(each) if each == each else "" for each in runs[column].tolist()] == written


def test_a_record_without_folds(tmp_path):
    (tmp_path / "runs.csv").write_text("name,seed,method,map_at_r\nold,3,plain,0.25\n")
    runs = read_record(tmp_path / "runs.csv")
    assert keys(runs) == [("old", 1, 3, "plain")]
    assert runs["embedding"].tolist() == ["single"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a record of runs"),
        ("name,seed,map_at_r\nold,0,0.1\n", "has no column 'method'"),
        ("name,seed,method,map_at_r\n", "contains no runs"),
        ("name,seed,method,map_at_r\nold,0,plain,0.1\nold,1,plain,0.1,2\n", "line 3"),
        ("name,seed,method,map_at_r\nold,0,plain,0.1\nold,1\n", "line 3: there is no method"),
        ("name,seed,method,map_at_r\nold,first,plain,0.1\n", "line 2: seed must be an integer"),
        ("name,seed,method,map_at_r\nold,0.5,plain,0.1\n", "line 2: seed must be an integer"),
        ("name,seed,method,map_at_r\nold,0,plain,high\n", "line 2: map_at_r must be a number"),
        (
            "name,seed,method,map_at_r\nold,0,plain,0.1\nold,0,plain,0.2\n",
            "line 3: the run is listed twice",
        ),
    ],
)
def test_damaged_records_are_named(text, message, tmp_path):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        read_runs([tmp_path / "runs.csv"])
    assert "runs.csv" in str(raised.value)


def test_folders_without_finished_runs(protocol, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    killed = protocol / "fold2_seed10"
    only_killed = tmp_path / "killed"
    os.mkfifo(tmp_path / "pipe")
    shutil.copytree(killed, only_killed / "seed10")
    for path, message in {
        tmp_path / "nowhere": "nowhere does not exist: name a work folder of training",
        tmp_path / "pipe": "pipe is neither a folder nor a file",
        empty: "contains no finished run: it is empty; name a folder with a results.json",
        killed: "it has flags.txt; name a folder",
        only_killed: "unfinished: seed10; to resume, run the same command again",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_runs([protocol, path])
    with pytest.raises(ValueError, match="c2 is given 2 times"):
        read_runs([protocol, f"{protocol}/../c2"])
    with pytest.raises(ValueError, match="no runs to read"):
        read_runs([])


def test_a_folder_of_folders_stands_for_those_with_finished_runs(protocol, tmp_path):
    for cell in ("sop/c2", "sop/c2_ccp", "inshop/c2"):
        save_run(tmp_path / "runs" / cell / "fold1_seed0", results(fold=1))
    (tmp_path / "runs" / "inshop" / "begun" / "fold1_seed0").mkdir(parents=True)
    # Runs that were moved to `earlier` have other settings.
    save_run(tmp_path / "runs" / "sop" / "earlier" / "seed0", results())
    record = read_runs([tmp_path / "runs", protocol])
    assert list(record.folders) == ["inshop/c2", "sop/c2", "c2_ccp", f"{tmp_path.name}/c2"]
    assert list(read_runs([tmp_path / "runs" / "sop"]).folders) == ["c2", "c2_ccp"]
    with pytest.raises(ValueError, match="c2 is given 2 times"):
        read_runs([tmp_path / "runs", tmp_path / "runs" / "sop" / "c2"])
    (tmp_path / "deep" / "runs" / "deeper").mkdir(parents=True)
    with pytest.raises(ValueError, match="runs contains no finished run: it has deeper; name a fo"):
        read_runs([tmp_path / "deep" / "runs"])


def test_a_run_that_is_there_twice(protocol):
    shutil.copytree(protocol / "fold1_seed9", protocol / "seed9")
    with pytest.raises(ValueError, match="contains fold 1 of seed 9 more than once"):
        read_runs([protocol])


@pytest.mark.parametrize("name", ["None", "NA", "null", "1e3"])
def test_names_that_could_be_missing_values(name, tmp_path):
    save_run(tmp_path / name / "seed0", results())
    runs = read_runs([tmp_path / name]).runs
    write_record(tmp_path / "runs.csv", runs)
    pd.testing.assert_frame_equal(read_record(tmp_path / "runs.csv"), runs)


def test_a_record_in_a_bucket(bucket, protocol):
    runs = read_runs([protocol]).runs
    write_record("gs://bucket/tables/runs.csv", runs)
    pd.testing.assert_frame_equal(read_record(bucket / "tables" / "runs.csv"), runs)
    assert not pathlib.Path("gs:").exists()


@pytest.mark.parametrize(
    "change",
    [{"seed": "x"}, {"seed": 0.5}, {"fold": [1]}, {"plain": {"map_at_r": None}}, {"seed": None}],
)
def test_results_with_other_values_are_not_finished(change, tmp_path):
    save_run(tmp_path / "c2" / "seed0", {**results(), **change})
    save_run(tmp_path / "c2" / "seed1", results(seed=1))
    assert list(find_runs(tmp_path / "c2").unfinished) == ["seed0"]
