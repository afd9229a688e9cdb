"""The runs of a study: from the folders of its runs, and from the record in its own folder."""

import os
import pathlib
from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import numpy as np
import pandas as pd

from ccp_dml.atomic_write import atomic_write
from ccp_dml.experiment.protocol import missing_runs
from ccp_dml.experiment.records import RECORD, SINGLE, read_record, read_runs, write_record
from ccp_dml.experiment.run_folders import BASELINES
from ccp_dml.experiment.study import Study, StudyRun, plan_study

_HISTORY = "history.csv"
_VALIDATION = "validation.csv"


class StudyRuns(NamedTuple):
    """The finished runs of a study.

    Attributes:
        runs: As in `ccp_dml.experiment.records.Record`, without the baselines, with a column
            `first_round_steps`: the steps until the proxies were first renewed, or would have
            been; missing if no round ended.
        validation: A row for each `name`, `seed`, `method` and `step` of the compared variants,
            with the monitored metric, `validation`.
    """

    runs: pd.DataFrame
    validation: pd.DataFrame


def read_study_runs(study: Study, workdir: str | os.PathLike) -> StudyRuns:
    """Reads the finished runs of a study with its current settings.

    Args:
        study: The study.
        workdir: Its folder of results.

    Raises:
        ValueError: If no run is finished.
    """
    planned = plan_study(study, workdir)
    missing = {(run.workdir, run.settings.seed) for run in missing_runs(planned)}
    finished = [run for run in planned if (run.workdir, run.settings.seed) not in missing]
    if not finished:
        raise ValueError(f"{workdir} contains no finished run of the study")
    folders = list(dict.fromkeys(run.workdir for run in finished))
    runs = read_runs(folders).runs
    keys = {(run.workdir.name, run.settings.seed) for run in finished}
    names_and_seeds = zip(runs["name"], runs["seed"], strict=True)
    is_own = np.array([each in keys for each in names_and_seeds])
    runs = runs[is_own & ~runs["method"].isin(BASELINES) & (runs["embedding"] == SINGLE)]
    histories = pd.concat(_read_histories(run) for run in finished)
    first_round = (
        histories[histories["round"] < 1].groupby(["name", "seed", "method"])["step"].max()
    )
    has_ended = histories.groupby(["name", "seed", "method"])["round"].max() >= 1
    steps = first_round[has_ended[has_ended].index].rename("first_round_steps").reset_index()
    validation = histories.loc[
        histories["name"].isin(study.compared_variants),
        ["name", "seed", "method", "step", "validation"],
    ]
    return StudyRuns(
        runs.merge(steps, how="left").reset_index(drop=True), validation.reset_index(drop=True)
    )


def _read_histories(run):
    frames = []
    for method in run.settings.method:
        with (run.folder / method / _HISTORY).open("r") as file:
            history = pd.read_csv(file)
        frame = pd.DataFrame(
            {
                "step": history["step"],
                "round": history.get("round", nan),
                "validation": history[f"val_{run.settings.monitor}"],
            }
        )
        frames.append(frame.assign(name=run.workdir.name, method=method, seed=run.settings.seed))
    return pd.concat(frames)


def read_recorded_runs(folder: str | os.PathLike) -> StudyRuns:
    """Reads the runs that `write_recorded_runs` left in the folder of a study.

    Args:
        folder: The folder.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If one is damaged.
    """
    folder = pathlib.Path(folder)
    runs = read_record(folder / RECORD)
    try:
        return StudyRuns(runs, pd.read_csv(folder / _VALIDATION))
    except ValueError as error:
        raise ValueError(
            f"{folder / _VALIDATION} is not a record of validation: {error}"
        ) from error


def write_recorded_runs(folder: str | os.PathLike, found: StudyRuns):
    """Writes runs into the folder of a study, as `runs.csv` and `validation.csv`.

    Args:
        folder: The folder.
        found: The runs. Validation is rounded to five decimals.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = pathlib.Path(folder)
    write_record(folder / RECORD, found.runs)
    with atomic_write(folder / _VALIDATION) as unfinished:
        found.validation.to_csv(unfinished, index=False, float_format="%.5f", lineterminator="\n")


def add_recorded_runs(study: Study, found: StudyRuns, recorded: StudyRuns) -> StudyRuns:
    """Adds the recorded runs of a study that were not found, such as those of another machine.

    A record does not tell with which settings a run was trained.

    Args:
        study: The study. Recorded runs that it no longer has are left out.
        found: Runs that take precedence.
        recorded: Recorded runs.

    Returns:
        All of them, in the order of the study's variants and seeds.
    """
    order = [(name, seed) for name in study.settings for seed in study.seeds(name)]
    positions = {key: number for number, key in enumerate(order)}
    is_found = set(_keys(found.runs))

    def combine(own, others):
        others = others[[key in positions and key not in is_found for key in _keys(others)]]
        # An empty table would turn integers into floating-point numbers.
        tables = [each for each in (own, others) if len(each)] or [own]
        both = pd.concat(tables, ignore_index=True)
        position = both.assign(position=[positions[key] for key in _keys(both)])["position"]
        return both.loc[position.sort_values(kind="stable").index].reset_index(drop=True)

    return StudyRuns(
        combine(found.runs, recorded.runs), combine(found.validation, recorded.validation)
    )


def leave_out_recorded(runs: Sequence[StudyRun], recorded: StudyRuns) -> list[StudyRun]:
    """Returns the planned runs that are not recorded.

    Args:
        runs: Planned runs.
        recorded: Recorded runs.
    """
    done = set(_keys(recorded.runs))
    return [run for run in runs if (run.workdir.name, run.settings.seed) not in done]


def _keys(table):
    return list(zip(table["name"], table["seed"], strict=True))
