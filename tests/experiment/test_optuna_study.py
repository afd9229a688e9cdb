"""Optuna's part in a search: values, trials that resume, and databases."""

import sys

import pytest
from etils import epath

from ccp_dml.experiment.optuna_study import OptunaStudy, hide_password
from ccp_dml.experiment.search_space import grid_points, parse_space
from ccp_dml.experiment.tuning import local_database

SPACE = parse_space(
    "learning_rate=log:1e-4:1e-2,pool_size=log_int:4:64,loss_params.margin=uniform:0:1,"
    "miner=choice:none|semi_hard_pairs"
)
GRID = parse_space("pool_size=int:8:9,miner=choice:none|semi_hard_pairs")


@pytest.fixture
def open_study(tmp_path):
    def open_it(name="search", space=SPACE, file="trials.db", **options):
        return OptunaStudy(f"sqlite:///{tmp_path / file}", name, space, **options)

    return open_it


def finish(study, trial, score):
    study.keep_run(trial.number, "seed0", {"validation": score, "seconds": 1.0}, score)
    study.finish(trial.number, score)


def search(study, count):
    """Trials whose score is the margin, one after the other."""
    while (trial := study.start(count)) is not None:
        finish(study, trial, trial.values["loss_params.margin"])
    return [trial.values for trial in study.trials()]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_interruptions_do_not_change_the_values(open_study, sampler):
    whole = search(open_study(file="whole.db", sampler=sampler, seed=3), 14)
    search(open_study(sampler=sampler, seed=3), 5)
    assert search(open_study(sampler=sampler, seed=3), 14) == whole
    others = search(open_study(file="other.db", sampler=sampler, seed=4), 14)
    for name in ("learning_rate", "loss_params.margin"):
        assert len({values[name] for values in whole + others}) == 28
    assert all(1e-4 <= values["learning_rate"] <= 1e-2 for values in whole)
    assert {type(values["pool_size"]) for values in whole} == {int}


def test_tpe_learns(open_study):
    values = search(open_study(), 40)
    margins = [each["loss_params.margin"] for each in values]
    assert sum(margins[-10:]) / 10 > sum(margins[:10]) / 10 + 0.2


def test_a_grid_is_tried_in_order_once(open_study):
    study = open_study(space=GRID, sampler="grid")
    values = [study.start(4).values for _ in range(4)]
    assert values == grid_points(GRID)
    assert study.start(4) is None


def test_running_trials_are_resumed(open_study):
    study = open_study(sampler="random")
    begun = [study.start(10) for _ in range(3)]
    study.keep_run(0, "seed0", {"validation": 0.5}, 0.5)
    finish(study, begun[1], 0.4)
    del study
    again = open_study(sampler="random")
    unfinished = again.list_unfinished()
    assert [trial.number for trial in unfinished] == [0, 2]
    assert [trial.values for trial in unfinished] == [begun[0].values, begun[2].values]
    assert unfinished[0].runs == {"seed0": {"validation": 0.5}}
    again.keep_run(0, "seed1", {"validation": 0.7}, 0.6)
    again.finish(0, 0.6)
    again.fail(2, "the loss is not finite")
    trials = again.trials()
    assert [trial.state for trial in trials] == ["finished", "finished", "failed"]
    assert trials[0].scores == [0.5, 0.7]
    assert trials[2].reason == "the loss is not finite"
    assert again.list_unfinished() == []


def test_machines_divide_the_trials(open_study):
    here = open_study(sampler="random", place="here")
    there = open_study(sampler="random", place="there")
    begun = [here.start(3), there.start(3), here.start(3)]
    assert there.start(3) is None
    assert [trial.number for trial in begun] == [0, 1, 2]
    assert len({trial.values["learning_rate"] for trial in begun}) == 3
    again = open_study(sampler="random", place="here")
    assert [trial.number for trial in again.list_unfinished()] == [0, 2]
    finish(again, begun[0], 0.3)
    assert [trial.state for trial in there.trials()] == ["finished", "running", "running"]


def test_a_trial_below_the_median_is_pruned(open_study):
    study = open_study(sampler="random")
    for score in (0.1, 0.2, 0.3, 0.4):
        trial = study.start(9)
        assert not study.keep_run(trial.number, "seed0", {"validation": score}, score)
        study.finish(trial.number, score)
    low, high = study.start(9), study.start(9)
    assert study.keep_run(low.number, "seed0", {"validation": 0.24}, 0.24)
    assert not study.keep_run(high.number, "seed0", {"validation": 0.26}, 0.26)
    study.prune(low.number)
    assert study.trials()[low.number].state == "pruned"
    assert study.trials()[low.number].scores == [0.24]


def test_importances(open_study):
    study = open_study(sampler="random")
    assert study.rank_parameters() == {}
    search(study, 30)
    importances = study.rank_parameters()
    assert next(iter(importances)) == "loss_params.margin"
    assert sum(importances.values()) == pytest.approx(1)
    assert open_study(name="one", space=SPACE[:1]).rank_parameters() == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no address", "tune_storage no address cannot be opened: "),
        ("sqlite:////no/such/folder/trials.db", "unable to open database file"),
        ("nosuch://me:secret@host/trials", r"tune_storage nosuch://me:\*\*\*@host/trials cannot"),
    ],
)
def test_databases_that_cannot_be_opened(url, message):
    with pytest.raises(ValueError, match=message) as error:
        OptunaStudy(url, "search", SPACE)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_passwords_are_hidden():
    assert hide_password("postgresql://host/trials") == "postgresql://host/trials"
    assert hide_password("postgresql://me@host/trials") == "postgresql://me@host/trials"
    assert hide_password("sqlite:////tmp/trials.db") == "sqlite:////tmp/trials.db"


def test_optuna_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        ValueError, match=r'mode tune requires Optuna: pip install "ccp_dml\[tune\]"'
    ):
        OptunaStudy("sqlite://", "search", SPACE)


def test_folders_of_any_name_hold_a_database(tmp_path):
    folder = epath.Path(tmp_path) / "50% {new}"
    folder.mkdir()
    OptunaStudy(local_database(folder), "search", GRID)
    assert (folder / "tune.db").exists()
    with pytest.raises(ValueError, match=r"what\? cannot hold a database, .* question mark"):
        local_database(folder / "what?")
