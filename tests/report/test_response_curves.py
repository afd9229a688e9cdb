"""The figure of a search."""

import numpy as np
import pytest

from ccp_dml.report import Response, draw_responses

ROLLING = Response(
    "learning_rate",
    np.array([[1e-4, 0.2], [1e-3, 0.4], [1e-2, 0.3]]),
    np.array([[1e-3, 0.3, 0.1], [2e-3, 0.35, 0.1]]),
    is_rolling=True,
    is_logarithmic=True,
)
CHOICE = Response(
    "miner",
    np.array([[0, 0.2], [1, 0.4]]),
    np.array([[0, 0.2, np.nan], [1, 0.4, 0.1]]),
    is_rolling=False,
    is_logarithmic=False,
    labels=["none", "semi_hard"],
)


def test_a_panel_for_each_parameter():
    figure = draw_responses([ROLLING, CHOICE, ROLLING, CHOICE], "validation MAP@R")
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in visible] == ["learning_rate", "miner"] * 2
    first, second = visible[:2]
    assert first.get_xscale() == "log"
    points, mean = first.get_lines()
    np.testing.assert_allclose(points.get_xydata(), ROLLING.points)
    np.testing.assert_allclose(mean.get_xydata(), ROLLING.curve[:, :2])
    assert [label.get_text() for label in second.get_xticklabels()] == ["none", "semi_hard"]
    (bars,) = second.containers
    ends = bars.lines[2][0].get_segments()
    np.testing.assert_allclose(ends[1], [[1, 0.3], [1, 0.5]])


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="no responses"):
        draw_responses([], "validation MAP@R")
