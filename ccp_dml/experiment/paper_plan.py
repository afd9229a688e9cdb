"""Plans of the runs for the cells of the paper's tables, with estimated hours."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from etils import epath

from ccp_dml.checks import check_one_of
from ccp_dml.data import OFFICIAL_SETS
from ccp_dml.experiment.paper_cells import DATASETS, cells
from ccp_dml.experiment.protocol import PlannedRun, missing_runs, plan_runs
from ccp_dml.experiment.published import COMPARED, find_published
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.step_times import StepTimes
from ccp_dml.report import terminal_table

FOLDS, SEEDS = (1, 2, 3, 4), (0, 1, 2)
"""The folds and seeds of a cell, as in the paper."""

_ALL = "all"
_MS_PER_HOUR = 3_600_000


class PlannedCell(NamedTuple):
    """A cell of the tables.

    Attributes:
        name: Such as `"sop/c2_ccp"`.
        title: Its title in the tables.
        settings: The settings that all its runs share.
        steps: Steps until the best validation, as the paper reports them or assumed.
        are_steps_published: Whether the paper reports them.
    """

    name: str
    title: str
    settings: Settings
    steps: int
    are_steps_published: bool

    @property
    def method(self) -> str:
        """Its only method."""
        (method,) = self.settings.method
        return method


def plan_cells(names: Sequence[str], changes: Mapping[str, Any]) -> list[PlannedCell]:
    """Plans the named cells of the paper's tables, in the order of the tables.

    The paper reports the steps of most cells on SOP and In-Shop. The others are assumed: for C1,
    those of C2 with the same method; for CUB and Cars196, as many validations as on SOP, which are
    also about as many passes over the images.

    Args:
        names: `"all"`, data sets such as `"sop"`, and cells such as `"sop/c2_ccp"`.
        changes: Settings to change in all cells, by name.

    Raises:
        ValueError: If there is no such cell, or a change would make it another one.

    Example:

    >>> (cell,) = plan_cells(["sop/c2_ccp"], {})
    >>> cell.title, cell.steps, cell.are_steps_published
    ('C2-CCP-L', 69000, True)
    """
    for name in ("method", "loss_params", *COMPARED):
        if name in changes:
            raise ValueError(
                f"{name} is set by the cells and cannot be given with --cells; got "
                f"{changes[name]!r}"
            )
    table = {
        f"{dataset}/{name}": cell
        for dataset in DATASETS
        for name, cell in cells(dataset).items()
        if cell.published_as is not None
    }
    choices = [_ALL, *DATASETS, *table]
    for name in names:
        check_one_of("cells", name, choices)
    chosen = [key for key in table if {_ALL, key, key.partition("/")[0]} & set(names)]
    return [_plan_cell(key, table[key], changes) for key in chosen]


def _plan_cell(key, cell, changes):
    steps = _published_steps(cell.settings)
    assumed = steps or _assume_steps(cell.settings)
    settings = Settings(**{**cell.settings, **changes})
    return PlannedCell(key, cell.published_as, settings, assumed, steps is not None)


def _published_steps(settings):
    settings = Settings(**settings)
    published = find_published(settings, *settings.method)
    return None if published is None else published.steps


def _assume_steps(settings):
    dataset = settings["dataset"]
    # The cell with the same method and loss, except for C1, whose steps are not published.
    name = next(name for name, cell in cells(dataset).items() if cell.settings == settings)
    name = name.replace("c1", "c2")
    for other in (dataset, "sop"):
        reported = cells(other)[name].settings
        if steps := _published_steps(reported):
            per_validation = steps / reported["steps_per_validation"]
            return round(per_validation * settings["steps_per_validation"])
    raise LookupError(f"no number of steps is published for {name}")


def plan_cell_runs(
    planned: Sequence[PlannedCell],
    folds: Sequence[int],
    seeds: Sequence[int],
    workdir: str | os.PathLike,
) -> dict[str, list[PlannedRun]]:
    """Plans the runs of each cell, by its name, below `<workdir>/<data set>/<cell>`.

    Raises:
        ValueError: See `ccp_dml.experiment.protocol.plan_runs`.
    """
    return {
        cell.name: plan_runs(cell.settings, folds, seeds, epath.Path(workdir) / cell.name)
        for cell in planned
    }


def estimate_hours(cell: PlannedCell, times: StepTimes) -> float:
    """Estimates the hours of one fold of a cell from its steps and the images to embed.

    After the best validation there are `patience` more. The images of every validation are
    embedded, those of the test classes before and after training, and for CCP the pools of as many
    rounds as possible: one after every `round_patience` + 1 validations. Reading and decoding
    images, which happens in parallel if there are enough processors, is not counted.

    Args:
        cell: The cell.
        times: Of the device.
    """
    settings = cell.settings
    validations = min(
        math.ceil(cell.steps / settings.steps_per_validation) + settings.patience,
        math.ceil(settings.max_steps / settings.steps_per_validation),
    )
    sizes = OFFICIAL_SETS[settings.dataset].sizes
    validation_images = sizes["train"].images / settings.num_folds
    tested = sum(size.images for split, size in sizes.items() if split != "train")
    embedded = (validations + 1) * validation_images + 2 * tested
    if cell.method == "ccp":
        rounds = validations // (settings.round_patience + 1) + 1
        draws = settings.pool_size
        if draws < settings.proxies_per_class:
            draws *= settings.proxies_per_class
        embedded += rounds * draws * count_classes(settings)
    milliseconds = validations * settings.steps_per_validation * times.step_time(cell.method)
    return (milliseconds + embedded * times.embedding) / _MS_PER_HOUR


def count_classes(settings: Settings) -> int:
    """Returns the number of training classes in the first fold of an official data set.

    Example:

    >>> count_classes(Settings(dataset="sop"))
    8489
    """
    classes = OFFICIAL_SETS[settings.dataset].sizes["train"].classes
    return classes - classes // settings.num_folds


def settings_to_measure(planned: Sequence[PlannedCell]) -> tuple[dict[str, Settings], int]:
    """Returns the settings to measure steps with, for each method, and the number of classes.

    The plain loss is always included. The settings of a method are those of its cell with the most
    classes.

    Args:
        planned: The cells.
    """
    largest = max(planned, key=lambda cell: count_classes(cell.settings)).settings
    dataset = largest.dataset
    chosen = {"plain": Settings(**cells(dataset)["c2"].settings)}
    for cell in sorted(planned, key=lambda cell: count_classes(cell.settings)):
        if cell.method != "plain":
            chosen[cell.method] = cell.settings
    plain = {"precision": largest.precision, "jit_compile": largest.jit_compile}
    chosen["plain"] = dataclasses.replace(chosen["plain"], **plain)
    settings = {
        method: dataclasses.replace(each, weights="none") for method, each in chosen.items()
    }
    return settings, count_classes(largest)


def format_plan(
    planned: Sequence[PlannedCell],
    runs: Mapping[str, Sequence[PlannedRun]],
    times: StepTimes,
) -> str:
    """Formats the cells with their estimated hours as a table, and lists assumptions.

    Args:
        planned: The cells.
        runs: The runs of each, as `plan_cell_runs` returns them.
        times: Of the device.
    """
    rows, totals = [], [0, 0, 0.0, 0.0]
    for cell in planned:
        hours = estimate_hours(cell, times)
        count, missing = len(runs[cell.name]), len(missing_runs(runs[cell.name]))
        numbers = [missing, count, missing * hours, count * hours]
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        rows.append(
            {
                "name": cell.name,
                "published as": cell.title,
                "steps": f"{cell.steps:,}{'' if cell.are_steps_published else ' *'}",
                "ms a step": f"{times.step_time(cell.method):.0f}",
                "hours a fold": f"{hours:.1f}",
                **_format_totals(*numbers),
            }
        )
    total = {"name": "all", **dict.fromkeys(rows[0], ""), **_format_totals(*totals)}
    total["name"] = "all"
    notes = [
        f"Step times: {times.source}; {times.embedding:.2g} ms to embed an image.",
        "Steps: those after which the paper's networks had converged. *: assumed, those of C2 for "
        "C1, and for CUB and Cars196 as many validations as on SOP.",
        f"Hours include the {planned[0].settings.patience} validations after the best one, "
        "embedding the validation and test images and, for CCP, the largest possible number of "
        "pools, but not reading and decoding images.",
    ]
    return "\n".join([terminal_table(pd.DataFrame([*rows, total])), "", *notes])


def _format_totals(missing, count, hours_missing, hours):
    return {
        "missing runs": f"{missing} of {count}",
        "hours missing": f"{hours_missing:,.0f}",
        "hours in all": f"{hours:,.0f}",
    }
