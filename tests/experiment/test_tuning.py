"""A whole search, with trainings that take no time."""

import json
import pathlib
import re

import pandas as pd
import pytest

from ccp_dml.experiment import tuning
from ccp_dml.experiment.flags import flagfile, settings_from_flagfile
from ccp_dml.experiment.processes import EndedTask
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.trials import best_trials
from ccp_dml.experiment.tuning import Search, tune

SETTINGS = Settings(dataset="glyphs", method=("ccp",), num_folds=2)
SPACE = "learning_rate=log:1e-4:1e-2,pool_size=int:4:40"
RESPONSES = pathlib.Path(__file__).parents[2] / "experiments" / "studies" / "responses"


class Trainings:
    """Stands in for the processes of runs.

    Attributes:
        score: Maps settings to their validation score; a run fails if it raises ArithmeticError.
        made: The settings of the runs that were made, in order.
        most: The number of runs after which the process that starts them is interrupted.
    """

    def __init__(self, monkeypatch):
        self.score = lambda settings: settings.pool_size / 100 + settings.seed / 1000
        self.made, self.most, self.environments = [], None, []
        monkeypatch.setattr(tuning, "run_side_by_side", self.run)
        monkeypatch.setattr(tuning, "prepare_data", lambda runs: None)

    def run(self, next_task, environments):
        self.environments = environments
        # Every process begins a run before the first run ends.
        running = []
        while True:
            while len(running) < len(environments) and (task := next_task()) is not None:
                running.append(task)
            if not running:
                return
            if len(self.made) == self.most:
                raise KeyboardInterrupt
            task = running.pop(0)
            yield EndedTask(task.name, self.train(task), None)

    def train(self, task):
        assert task.arguments[:2] == ["-m", "ccp_dml.main"]
        assert "--mode=validate" in task.arguments
        options = dict(re.fullmatch("--(.*?)=(.*)", each).groups() for each in task.arguments[2:])
        lines = pathlib.Path(options["flagfile"]).read_text().splitlines()
        folder = pathlib.Path(options["workdir"])
        folder.mkdir(parents=True, exist_ok=True)
        given = ("--folds", "--seeds", "--fold", "--seed")
        lines = [line for line in lines if line.split("=")[0] not in given]
        lines += [f"--fold={options['folds']}", f"--seed={options['seeds']}"]
        (folder / "flags.txt").write_text("\n".join(lines))
        settings = settings_from_flagfile(folder / "flags.txt")
        self.made.append(settings)
        try:
            score = self.score(settings)
        except ArithmeticError:
            return 2
        found = {"steps": 10, "rounds": 1, "seconds": 1.0, "best_step": 5, "best_phase": ""}
        found[f"validation_{settings.monitor}"] = score
        (folder / "flags.txt").write_text(flagfile(settings, folder))
        (folder / "validation.json").write_text(json.dumps({"ccp": found}))
        return 0


@pytest.fixture
def trainings(monkeypatch):
    return Trainings(monkeypatch)


def test_a_search_finds_the_best(trainings, tmp_path, capsys):
    trials = tune(Search(SETTINGS, SPACE, 12, seeds=(5, 6)), tmp_path)
    assert [trial.state for trial in trials] == ["finished"] * 12
    assert [settings.seed for settings in trainings.made] == [5, 6] * 12
    best = max(trainings.made, key=lambda settings: settings.pool_size)
    # The best settings, with the seeds of the search, as the mode train takes them.
    flags = (tmp_path / "best.flags").read_text()
    assert "--seeds=5,6\n" in flags
    assert settings_from_flagfile(tmp_path / "best.flags").pool_size == best.pool_size
    assert "--workdir" not in flags
    frame = pd.read_csv(tmp_path / "trials.csv", float_precision="round_trip")
    assert list(frame["pool_size"]) == [settings.pool_size for settings in trainings.made[::2]]
    assert list(frame["fold1_seed6"]) == [
        each.pool_size / 100 + 0.006 for each in trainings.made[::2]
    ]
    assert (tmp_path / "responses.png").read_bytes().startswith(b"\x89PNG")
    output = capsys.readouterr().out
    lines = [line for line in output.splitlines() if re.match(r"\d+ of 12: trial ", line)]
    assert len(lines) == 12
    mean = best.pool_size / 100 + 0.0055
    assert f"best {mean:.4g} (trial " in lines[-1]
    assert f"# Trial {best_trials(trials)[0].number}, the best of 12: validation MAP@R" in flags
    assert "| trial | validation MAP@R | runs | learning_rate | pool_size |" in output
    assert "| pool_size | " in output.partition("importance")[2]


def test_an_interrupted_search_ends_like_a_whole_one(trainings, tmp_path, capsys):
    search = Search(SETTINGS, SPACE, 6, "random", seeds=(0, 1))
    whole = tune(search, tmp_path / "whole")
    trainings.made.clear()
    for trainings.most in (3, 8):
        with pytest.raises(KeyboardInterrupt):
            tune(search, tmp_path / "parts", processes=2)
        assert len(trainings.environments) == 2
    trainings.most = None
    capsys.readouterr()
    assert tune(search, tmp_path / "parts", processes=2) == whole
    assert "3 of 6 trials are finished" in capsys.readouterr().out
    # No run was made twice.
    assert len({(each.learning_rate, each.seed) for each in trainings.made}) == 12
    assert len(trainings.made) == 12
    # More trials are added to those that are there.
    more = tune(Search(SETTINGS, SPACE, 7, "random", seeds=(0, 1)), tmp_path / "parts")
    assert more[:6] == whole
    assert len(more) == 7


def test_another_search_is_moved_away(trainings, tmp_path, capsys):
    tune(Search(SETTINGS, SPACE, 2), tmp_path)
    trials = tune(Search(SETTINGS, "pool_size=int:50:60", 2), tmp_path)
    assert all(trial.values["pool_size"] >= 50 for trial in trials)
    (earlier,) = (tmp_path / "earlier").iterdir()
    assert {"tune.db", "trials.csv", "best.flags", "trials"} <= {
        path.name for path in earlier.iterdir()
    }
    assert (
        f"{tmp_path} contained another search, which was moved to {earlier}"
        in capsys.readouterr().out
    )


def test_trials_that_fail_are_listed(trainings, tmp_path, capsys):
    def score(settings):
        if settings.pool_size > 20:
            raise ArithmeticError
        return settings.pool_size / 100

    trainings.score = score
    trials = tune(Search(SETTINGS, "pool_size=choice:10|20|30|40", 4, "grid"), tmp_path)
    assert [trial.state for trial in trials] == ["finished"] * 2 + ["failed"] * 2
    output = capsys.readouterr().out
    assert "3 of 4: trial 2 FAILED: see above (exit code 2); pool_size=30; best 0.2" in output
    assert "2 of 4 trials failed; trials.csv says why" in output
    assert settings_from_flagfile(tmp_path / "best.flags").pool_size == 20


def test_settings_that_do_not_fit_each_other_fail_alone(trainings, tmp_path):
    space = "steps_per_validation=choice:10|15,max_steps=choice:21|20,"
    space += "learning_rate_warmup_steps=choice:0|20"
    trials = tune(Search(SETTINGS, space, 8, "grid"), tmp_path)
    failed = [trial for trial in trials if trial.state == "failed"]
    assert [trial.values for trial in failed] == [
        {"steps_per_validation": steps, "max_steps": 20, "learning_rate_warmup_steps": 20}
        for steps in (10, 15)
    ]
    assert all("must be below max_steps, 20; got 20" in trial.reason for trial in failed)
    assert len(trainings.made) == 6


def test_a_search_in_which_all_fails_stops(trainings, tmp_path):
    def score(settings):
        raise ArithmeticError

    trainings.score = score
    with pytest.raises(ValueError, match="all of the first 3 trials have failed, the last one"):
        tune(Search(SETTINGS, SPACE, 12), tmp_path)
    assert len(trainings.made) == 3


def test_hopeless_trials_end_early(trainings, tmp_path):
    search = Search(SETTINGS, "pool_size=choice:10|20|30|40|5|50", 6, "grid", (1,), (0, 1), True)
    trials = tune(search, tmp_path)
    assert [trial.state for trial in trials] == ["finished"] * 4 + ["pruned", "finished"]
    assert [len(trial.scores) for trial in trials] == [2, 2, 2, 2, 1, 2]


def test_machines_that_share_a_database(trainings, tmp_path, capsys):
    search, storage = Search(SETTINGS, SPACE, 4), f"sqlite:///{tmp_path / 'shared.db'}"
    trainings.most = 1
    with pytest.raises(KeyboardInterrupt):
        tune(search, tmp_path / "here", storage)
    trainings.most = None
    there = tune(search, tmp_path / "there", storage)
    assert [trial.state for trial in there] == ["finished", "running", "finished", "finished"]
    assert "trials still running elsewhere: 1;" in capsys.readouterr().out
    here = tune(search, tmp_path / "here", storage)
    assert [trial.state for trial in here] == ["finished"] * 4
    assert len(trainings.made) == 4
    assert not list(tmp_path.rglob("tune.db"))


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"method": ("plain", "ccp")}, {}, "method must name the single method .*; got plain,ccp"),
        ({"validation": "test"}, {}, "validation=test would choose settings by the test classes"),
        ({}, {"sampler": "tpo"}, "tune_sampler must be one of tpe, .*: did you mean tpe"),
        ({}, {"num_trials": 0}, "tune_trials must be at least 1; got 0"),
        ({}, {"space": "pool_size=int:1:50", "sampler": "grid"}, "the grid has 50 points, more"),
        (
            {},
            {"space": "pool_size=int:1:50,warmup_steps=int:1:1000000000000", "sampler": "grid"},
            "the grid has 50000000000000 points, more",
        ),
        ({}, {"space": "pool_size=int:0:5"}, "tune_space, pool_size=0: pool_size must be at least"),
    ],
)
def test_invalid_searches(settings, options, message):
    settings = Settings(**{"method": ("ccp",), **settings})
    with pytest.raises(ValueError, match=message):
        Search(settings, **{"space": SPACE, **options})


def test_the_command_line(trainings, run_command, tmp_path, capsys):
    arguments = ["--mode=tune", "--dataset=glyphs", "--method=ccp", f"--workdir={tmp_path}"]
    run_command(*arguments, "--tune_space=pool_size=int:4:40", "--tune_trials=2", "--preset=paper")
    assert "the results are in" in capsys.readouterr().out
    # The flagfile that it leaves describes the same search.
    run_command(f"--flagfile={tmp_path / 'tune.flags'}")
    assert "2 of 2 trials are finished" in capsys.readouterr().out
    assert len(trainings.made) == 2
    for wrong, message in [
        ((), "--tune_space is missing"),
        (("--tune_space=pool_sise=int:1:2",), "did you mean pool_size"),
        (("--tune_space=pool_size=int:1:2", "--workdir=gs://bucket/x"), "--tune_storage"),
    ]:
        with pytest.raises(SystemExit) as error:
            run_command(*arguments, *wrong)
        assert error.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(RESPONSES.glob("*.flags")) if path.stem != "base"],
    ids=lambda path: path.stem,
)
def test_the_response_curves_can_be_searched(path, run_command, monkeypatch, tmp_path):
    searches = []
    monkeypatch.setattr(
        "ccp_dml.experiment.commands.tune.tune", lambda search, *others: searches.append(search)
    )
    run_command(
        "--mode=tune",
        f"--flagfile={RESPONSES / 'base.flags'}",
        f"--flagfile={path}",
        f"--workdir={tmp_path}",
    )
    (search,) = searches
    assert search.settings.dataset == "glyphs"
    assert list(search.seeds) == [0, 1, 2]
    assert path.stem in search.space
