"""The trials of a search: their table, the best ones, and responses to each parameter."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ccp_dml.experiment.search_space import SearchParameter
from ccp_dml.experiment.statistics import Estimate, estimate_mean
from ccp_dml.report import Response, format_estimate, markdown_table

# Number of ended trials in the printed table.
_SHOWN = 10
_MIN_IN_WINDOW = 5
# Share of all trials in the window of a rolling mean.
_WINDOW = 0.2
_RUN_NUMBERS = ("best_step", "steps", "rounds", "seconds")


@dataclasses.dataclass(frozen=True)
class Trial:
    """Values of the searched parameters, and their validation.

    Attributes:
        number: Number of the trial, from 0.
        state: `"running"`, `"finished"`, `"failed"` or `"pruned"`.
        values: Values by the names of the parameters.
        runs: Results of each trained fold and seed, such as `{"seed0": {"validation": 0.41,
            "best_step": 500, "rounds": 2, "seconds": 31.0}}`.
        reason: Why it failed; empty if it did not fail.
    """

    number: int
    state: str
    values: Mapping[str, bool | float | str]
    runs: Mapping[str, Mapping[str, Any]]
    reason: str = ""

    @property
    def scores(self) -> list[float]:
        """The validation metric of each run."""
        return [run["validation"] for run in self.runs.values()]

    def estimate(self) -> Estimate:
        """Returns the mean of the scores with its 95 % interval; NaN without scores."""
        return estimate_mean(self.scores) if self.scores else Estimate(math.nan, math.nan, 0)

    def describe_values(self) -> str:
        """Returns the rounded values in one line."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.values.items())


def format_value(value: bool | float | str) -> str:
    """Formats a value for a table, with four digits.

    Example:

    >>> format_value(0.00123456), format_value(8), format_value(True)
    ('0.001235', '8', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Returns the finished trials, best first."""
    finished = [trial for trial in trials if trial.state == "finished"]
    return sorted(finished, key=lambda trial: -trial.estimate().mean)


def trials_frame(trials: Sequence[Trial], monitor: str) -> pd.DataFrame:
    """Returns all trials as a table with one row each.

    Args:
        trials: The trials.
        monitor: The metric of validation, which names the columns.

    Returns:
        The columns `trial`, `state`, `validation_<monitor>` (the mean over the runs),
        `validation_<monitor>_half_width`, `runs`, the parameters, means of numbers of the training,
        the metric of each run under its name, and `reason`.
    """
    rows = []
    for trial in trials:
        estimate = trial.estimate()
        runs = trial.runs.values()
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state,
                f"validation_{monitor}": estimate.mean,
                f"validation_{monitor}_half_width": estimate.half_width,
                "runs": estimate.count,
                **trial.values,
                **{
                    name: float(np.mean([run[name] for run in runs])) if runs else math.nan
                    for name in _RUN_NUMBERS
                },
                **{name: run["validation"] for name, run in trial.runs.items()},
                "reason": trial.reason,
            }
        )
    frame = pd.DataFrame(rows)
    # The runs of the first trials may have failed.
    return frame[[*frame.columns.drop("reason"), "reason"]] if rows else frame


def format_best(trials: Sequence[Trial], metric: str) -> str:
    """Formats the best trials as a Markdown table.

    Args:
        trials: The trials.
        metric: The title of the metric of validation.
    """
    rows = []
    for trial in best_trials(trials)[:_SHOWN]:
        mean, half_width, count = trial.estimate()
        seconds = np.mean([run["seconds"] for run in trial.runs.values()])
        rows.append(
            {
                "trial": str(trial.number),
                metric: format_estimate(mean, half_width),
                "runs": str(count),
                **{name: format_value(value) for name, value in trial.values.items()},
                "seconds": f"{seconds:.0f}",
            }
        )
    return markdown_table(pd.DataFrame(rows))


def format_importances(importances: Mapping[str, float]) -> str:
    """Formats the importances of parameters as a Markdown table."""
    rows = [{"name": name, "importance": f"{part:.2f}"} for name, part in importances.items()]
    return markdown_table(pd.DataFrame(rows))


def respond(trials: Sequence[Trial], parameter: SearchParameter) -> Response:
    """Computes how the validation metric responds to a parameter.

    Each value of a choice, a grid or a whole number has a mean with its interval, over the trials
    with this value or, if there is only one, over its runs. Other parameters have a rolling mean
    over the nearest fifth of the trials in order, at least five.

    Args:
        trials: The trials; only finished ones count.
        parameter: The parameter.
    """
    finished = [trial for trial in trials if trial.state == "finished"]
    labels = None
    if parameter.choices:
        labels = [format_value(choice) for choice in parameter.choices]
    positions = np.array([_position(trial, parameter) for trial in finished], "float64")
    means = np.array([trial.estimate().mean for trial in finished])
    is_rolling = not (parameter.choices or parameter.is_integer or parameter.points)
    curve = _roll(positions, means) if is_rolling else _group(positions, finished)
    scores = [
        (place, score)
        for place, trial in zip(positions, finished, strict=True)
        for score in trial.scores
    ]
    return Response(
        parameter.name,
        np.array(scores, "float64").reshape(-1, 2),
        curve,
        is_rolling,
        parameter.is_logarithmic,
        labels,
    )


def _position(trial, parameter):
    value = trial.values[parameter.name]
    return parameter.choices.index(value) if parameter.choices else value


def _group(positions, trials):
    rows = []
    for place in np.unique(positions):
        at_place = [trial for trial, each in zip(trials, positions, strict=True) if each == place]
        if len(at_place) > 1:
            estimate = estimate_mean([trial.estimate().mean for trial in at_place])
        else:
            estimate = at_place[0].estimate()
        rows.append((place, estimate.mean, estimate.half_width))
    return np.array(rows, "float64").reshape(-1, 3)


def _roll(positions, means):
    order = np.argsort(positions, kind="stable")
    positions, means = positions[order], means[order]
    width = max(_MIN_IN_WINDOW, round(_WINDOW * len(means)))
    rows = []
    for first in range(len(means) - width + 1):
        window = slice(first, first + width)
        estimate = estimate_mean(means[window])
        rows.append((np.median(positions[window]), estimate.mean, estimate.half_width))
    return np.array(rows, "float64").reshape(-1, 3)
