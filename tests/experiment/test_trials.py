"""Tables of trials, the best of them, and responses to parameters."""

import math

import numpy as np
import pytest
import scipy.stats

from ccp_dml.experiment.search_space import parse_space
from ccp_dml.experiment.trials import (
    Trial,
    best_trials,
    format_best,
    format_importances,
    respond,
    trials_frame,
)


def trial(number, values, scores, state="finished", reason=""):
    runs = {
        f"seed{seed}": {
            "validation": score,
            "best_step": 10 * (seed + 1),
            "steps": 50,
            "rounds": 2,
            "seconds": 1.5,
        }
        for seed, score in enumerate(scores)
    }
    return Trial(number, state, values, runs, reason)


TRIALS = [
    trial(0, {"pool_size": 8, "learning_rate": 1e-3}, [0.2, 0.4]),
    trial(1, {"pool_size": 8, "learning_rate": 2e-3}, [], "failed", "collapsed"),
    trial(2, {"pool_size": 16, "learning_rate": 3e-3}, [0.9], "pruned"),
    trial(3, {"pool_size": 16, "learning_rate": 0.0012345678}, [0.5, 0.6]),
    trial(4, {"pool_size": 16, "learning_rate": 5e-3}, [], "running"),
]


def half_width(values):
    return scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)


def test_the_best_are_finished():
    assert [each.number for each in best_trials(TRIALS)] == [3, 0]
    assert best_trials(TRIALS[1:3]) == []


def test_the_frame_holds_every_trial():
    frame = trials_frame(TRIALS, "map_at_r")
    assert list(frame["trial"]) == [0, 1, 2, 3, 4]
    assert list(frame["state"]) == ["finished", "failed", "pruned", "finished", "running"]
    assert frame.loc[0, "validation_map_at_r"] == pytest.approx(0.3)
    assert frame.loc[0, "validation_map_at_r_half_width"] == pytest.approx(half_width([0.2, 0.4]))
    assert list(frame["runs"]) == [2, 0, 1, 2, 0]
    assert (frame.loc[3, "seed0"], frame.loc[3, "seed1"]) == (0.5, 0.6)
    assert frame.loc[0, "best_step"] == 15
    assert frame.loc[1, "reason"] == "collapsed"
    assert frame.columns[-1] == "reason"
    assert math.isnan(frame.loc[4, "validation_map_at_r"])


def test_tables_for_the_console():
    lines = format_best(TRIALS, "validation MAP@R").splitlines()
    assert lines[0].startswith("| trial | validation MAP@R | runs | pool_size | learning_rate |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 3", "| 0"]
    assert "| 0.001235 |" in lines[2]
    assert "| a | 0.75 |" in format_importances({"a": 0.75, "b": 0.25})


def test_the_response_at_values_is_a_mean_over_trials_or_runs():
    (parameter,) = parse_space("pool_size=int:4:20")
    trials = [*TRIALS, trial(5, {"pool_size": 16}, [0.7, 0.9])]
    response = respond(trials, parameter)
    np.testing.assert_allclose(
        response.curve,
        [
            [8, 0.3, half_width([0.2, 0.4])],
            [16, (0.55 + 0.8) / 2, half_width([0.55, 0.8])],
        ],
    )
    expected = [[8, 0.2], [8, 0.4], [16, 0.5], [16, 0.6], [16, 0.7], [16, 0.9]]
    np.testing.assert_allclose(response.points, expected)
    assert not response.is_rolling


def test_the_response_to_a_choice_is_at_its_place():
    (parameter,) = parse_space("miner=choice:semi_hard_pairs|none")
    response = respond(
        [trial(0, {"miner": "none"}, [0.3]), trial(1, {"miner": "semi_hard_pairs"}, [0.1])],
        parameter,
    )
    assert response.labels == ["semi_hard_pairs", "none"]
    np.testing.assert_allclose(response.curve[:, :2], [[0, 0.1], [1, 0.3]])


def test_the_response_to_a_number_is_a_rolling_mean(generator):
    (parameter,) = parse_space("learning_rate=log:1e-4:1e-2")
    rates, scores = generator.uniform(1e-4, 1e-2, 40), generator.uniform(size=40)
    trials = [
        trial(number, {"learning_rate": rate}, [score])
        for number, (rate, score) in enumerate(zip(rates, scores, strict=True))
    ]
    response = respond(trials, parameter)
    assert response.is_rolling
    assert response.is_logarithmic
    ordered = sorted(zip(rates, scores, strict=True))
    expected = []
    for first in range(33):
        near = ordered[first : first + 8]
        scores_near = [score for _, score in near]
        middle = (near[3][0] + near[4][0]) / 2
        expected.append([middle, sum(scores_near) / 8, half_width(scores_near)])
    np.testing.assert_allclose(response.curve, expected)
    assert respond(trials[:3], parameter).curve.shape == (0, 3)
