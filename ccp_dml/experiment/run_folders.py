"""Search for finished runs in the work folders of training."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from ccp_dml.experiment.flags import settings_from_text
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.workdir import folder_exists

# What a run measures before training.
BASELINES = ("raw_pixels", "pooled_features", "before")

ONLY_FOLD = 1
"""The fold of a run that does not name one, the default of the setting."""

_RUN_NAME = re.compile(r"(?:fold(?P<fold>\d+)_)?seed\d+")


class FinishedRun(NamedTuple):
    """A run with results of all its methods.

    Attributes:
        folder: Its folder.
        fold: Its fold; 1 if its data are not split in folds.
        seed: Its seed.
        metrics: Metrics by baseline and method: the baselines first, then the methods in the order
            of their training.
        flags: The text of its `flags.txt`; empty if it has none.
    """

    folder: epath.Path
    fold: int
    seed: int
    metrics: Mapping[str, Mapping[str, Any]]
    flags: str

    @property
    def methods(self) -> list[str]:
        """The methods that it trained."""
        return [name for name in self.metrics if name not in BASELINES]

    def flag(self, name: str) -> str | None:
        """Returns the value of a flag in `flags.txt`; `None` if it is missing."""
        return _flag(self.flags, name)

    def settings(self) -> Settings | None:
        """Returns its settings; `None` if `flags.txt` does not have those of this version."""
        try:
            return settings_from_text(self.flags)
        except ValueError:
            return None


class RunFolders(NamedTuple):
    """The runs in a folder.

    Attributes:
        runs: The finished runs.
        unfinished: Names of run folders without all results.
        folds: The folds of all run folders, finished or not.
    """

    runs: Sequence[FinishedRun]
    unfinished: Sequence[str]
    folds: frozenset[int]


def contains_runs(folder: epath.Path) -> bool:
    """Returns whether a folder is that of a protocol: whether it contains folders of runs."""
    return folder_exists(folder) and any(_run_folders(folder))


def find_runs(folder: epath.Path) -> RunFolders:
    """Finds the finished runs of a run folder or of a protocol folder.

    A run folder contains a `results.json`; a protocol folder contains run folders named
    `fold1_seed0`, or `seed0` if the data are not split into folds.

    Args:
        folder: The folder.
    """
    candidates = [folder] if (folder / "results.json").exists() else _run_folders(folder)
    found = {each: _read_run(each) for each in sorted(candidates, key=_numbers)}
    runs = [run for run in found.values() if run is not None]
    unfinished = [each.name for each, run in found.items() if run is None]
    named = [match["fold"] for match in map(_RUN_NAME.fullmatch, unfinished) if match]
    folds = {run.fold for run in runs} | {int(fold) for fold in named if fold}
    return RunFolders(
        sorted(runs, key=lambda run: (run.fold, run.seed)), unfinished, frozenset(folds)
    )


def _run_folders(folder):
    return [each for each in folder.iterdir() if _RUN_NAME.fullmatch(each.name) and each.is_dir()]


def _numbers(folder):
    """Sorts seed10 after seed9."""
    return [int(number) for number in re.findall(r"\d+", folder.name)], folder.name


def _read_run(folder):
    """Reads the run in a folder; `None` if it is not finished."""
    try:
        results = json.loads((folder / "results.json").read_text())
        path = folder / "flags.txt"
        flags = path.read_text() if path.exists() else ""
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(results, dict):
        return None
    metrics = {name: value for name, value in results.items() if _are_metrics(value)}
    methods = (_flag(flags, "method") or "").split(",") if flags else _list_trained_methods(metrics)
    if not methods or not set(methods) <= set(metrics):
        return None
    fold = results.get("fold", _flag(flags, "fold"))
    fold = ONLY_FOLD if fold is None else _whole_number(fold)
    seed = _whole_number(results.get("seed", _flag(flags, "seed")))
    if fold is None or seed is None:
        return None
    baselines = [name for name in BASELINES if name in metrics]
    return FinishedRun(
        folder,
        fold,
        seed,
        {name: metrics[name] for name in (*baselines, *methods)},
        flags,
    )


def _list_trained_methods(metrics):
    return [name for name in metrics if name not in BASELINES]


def _are_metrics(value):
    return isinstance(value, dict) and isinstance(value.get("map_at_r"), int | float)


def _whole_number(value):
    """Returns a number that may be text; `None` if it is not a whole number."""
    return int(value) if re.fullmatch(r"\d+", str(value)) else None


def _flag(text, name):
    values = re.findall(rf"^--{name}=(.*)$", text, flags=re.MULTILINE)
    return values[-1].strip() if values else None
