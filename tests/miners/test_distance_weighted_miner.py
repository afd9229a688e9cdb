import numpy as np
import pytest

from ccp_dml import miners


@pytest.mark.both_backends
def test_distance_weighted_draws_follow_the_density():
    # Distances 0.6 and 1.2 in 4 dimensions: q(D) ∝ D² (1 − D²/4)^½; one positive, one draw.
    distances = np.array([[0.3] + [0.6] * 10 + [1.2] * 10 + [1.5] * 5], "float32")
    positives, negatives = np.zeros((1, 26), bool), np.ones((1, 26), bool)
    positives[0, 0], negatives[0, 0] = True, False
    rows = [np.repeat(each, 4000, axis=0) for each in (distances, positives, negatives)]
    drawn_positives, drawn = miners.DistanceWeightedMiner()(*rows, dimension=4, seed=1)
    assert (np.asarray(drawn_positives) == rows[1]).all()
    drawn = np.asarray(drawn)
    assert (drawn.sum(axis=1) == 1).all()
    assert not drawn[:, 21:].any()
    weights = [1 / (D**2 * np.sqrt(1 - D**2 / 4)) for D in (0.6, 1.2)]
    assert drawn[:, 1:11].sum() / 4000 == pytest.approx(weights[0] / sum(weights), abs=0.03)


@pytest.mark.both_backends
@pytest.mark.parametrize("dimension", [1, 2, 512])
def test_distance_weighting_is_stable(dimension):
    distances = np.array([[0.0, 0.0, 1e-3, 1.3999, 2.0]], "float32")
    positives = np.array([[False, True, False, False, False]])
    _, drawn = miners.DistanceWeightedMiner()(distances, positives, ~positives, dimension, seed=0)
    assert np.asarray(drawn).sum() == 1
    assert not np.asarray(drawn)[0, 4]
