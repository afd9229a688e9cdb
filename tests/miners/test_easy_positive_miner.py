import numpy as np
import pytest

from ccp_dml import miners


@pytest.mark.both_backends
@pytest.mark.parametrize("semi_hard", [True, False])
def test_one_positive_and_one_negative_of_each_anchor(semi_hard, generator):
    distances = generator.uniform(0.1, 2, (40, 12)).astype("float32")
    positives = generator.uniform(size=(40, 12)) < 0.3
    chosen = miners.EasyPositiveMiner(semi_hard)(distances, positives, ~positives, 8, seed=0)
    chosen_positives, chosen_negatives = map(np.asarray, chosen)
    for row, is_positive, p, n in zip(
        distances, positives, chosen_positives, chosen_negatives, strict=True
    ):
        nearest = min((d for d, own in zip(row, is_positive, strict=True) if own), default=None)
        assert row[p].tolist() == ([] if nearest is None else [nearest])
        others = [d for d, own in zip(row, is_positive, strict=True) if not own]
        if semi_hard:
            others = [] if nearest is None else [d for d in others if d > nearest]
        assert row[n].tolist() == ([min(others)] if others else [])


@pytest.mark.both_backends
def test_equally_near_ones_are_all_taken():
    distances = np.array([[0.5, 0.5, 0.5, 0.5]], "float32")
    positives = np.array([[True, True, False, False]])
    easy, near = miners.EasyPositiveMiner(False)(distances, positives, ~positives, 2, seed=0)
    np.testing.assert_array_equal(np.asarray(easy), positives)
    np.testing.assert_array_equal(np.asarray(near), ~positives)
    _, farther = miners.EasyPositiveMiner(True)(distances, positives, ~positives, 2, seed=0)
    assert not np.asarray(farther).any()
