"""The figure of a search: how a metric responds to each parameter."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

_MAX_COLUMNS = 3
_COLOR = "#2f7fd0"


class Response(NamedTuple):
    """A metric at the values of a parameter.

    Attributes:
        name: Name of the parameter.
        points: Values and metrics of single runs `(n, 2)`.
        curve: Values, means and half-widths of their intervals `(m, 3)`, from left to right; NaN
            where there is no interval.
        is_rolling: Whether the curve is a rolling mean rather than the mean at each value.
        is_logarithmic: Whether the axis is logarithmic.
        labels: Labels of the values 0, 1, …, if these stand for choices. Defaults to `None`.
    """

    name: str
    points: np.ndarray
    curve: np.ndarray
    is_rolling: bool
    is_logarithmic: bool
    labels: Sequence[str] | None = None


def draw_responses(responses: Sequence[Response], metric: str) -> Figure:
    """Draws a panel for each parameter: runs as dots, their means with intervals as a line.

    Args:
        responses: The responses, at least one.
        metric: Name of the metric.

    Returns:
        A matplotlib figure, to be saved with `savefig`.

    Raises:
        ValueError: If there is no response.
    """
    if not responses:
        raise ValueError("there are no responses to draw")
    columns = min(_MAX_COLUMNS, len(responses))
    rows = math.ceil(len(responses) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for panel, response in zip(panels, responses, strict=False):
        _draw(panel, response)
    for panel in panels[len(responses) :]:
        panel.set_visible(False)
    figure.supylabel(metric)
    return figure


def _draw(panel, response):
    panel.plot(*response.points.T, "o", color=_COLOR, alpha=0.35, markersize=4, linewidth=0)
    places, means, half_widths = response.curve.T
    if response.is_rolling:
        panel.plot(places, means, color=_COLOR)
        panel.fill_between(
            places, means - half_widths, means + half_widths, color=_COLOR, alpha=0.15, linewidth=0
        )
    else:
        style = "none" if response.labels else "-"
        panel.errorbar(
            places,
            means,
            np.nan_to_num(half_widths),
            fmt="_",
            linestyle=style,
            markersize=12,
            color=_COLOR,
            capsize=3,
        )
    if response.is_logarithmic:
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
        if not response.is_rolling:
            panel.set_xticks(places, [f"{place:g}" for place in places])
    if response.labels:
        panel.set_xticks(range(len(response.labels)), response.labels)
        panel.set_xlim(-0.5, len(response.labels) - 0.5)
    panel.set(xlabel=response.name)
    panel.grid(alpha=0.2)
