import numpy as np
import pytest

from ccp_dml import miners


@pytest.mark.both_backends
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_pairs_are_those_of_the_paper(epsilon, generator):
    vectors = generator.standard_normal((20, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = generator.integers(0, 4, 20)
    same = labels[:, None] == labels[None]
    positives, negatives = same & ~np.eye(20, dtype=bool), ~same
    similarities = vectors @ vectors.T
    expected = np.zeros_like(positives), np.zeros_like(negatives)
    for i in range(20):
        for j in range(20):
            if positives[i, j]:
                most = max(similarities[i, k] for k in range(20) if negatives[i, k])
                expected[0][i, j] = similarities[i, j] < most + epsilon
            if negatives[i, j] and positives[i].any():
                least = min(similarities[i, k] for k in range(20) if positives[i, k])
                expected[1][i, j] = similarities[i, j] > least - epsilon
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2).astype("float32")
    chosen = miners.MultiSimilarityMiner(epsilon)(distances, positives, negatives, 4, seed=0)
    for mask, right in zip(chosen, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(mask), right)


@pytest.mark.both_backends
def test_an_anchor_without_pairs_of_one_kind_takes_none():
    distances = np.full((2, 3), 0.5, "float32")
    positives = np.array([[True] * 3, [False] * 3])
    for mask in miners.MultiSimilarityMiner()(distances, positives, ~positives, 4, seed=0):
        assert not np.asarray(mask).any()


def test_epsilon_is_checked():
    with pytest.raises(ValueError, match=r"epsilon must be at least 0; got -0\.1"):
        miners.get("multi_similarity", epsilon=-0.1)
