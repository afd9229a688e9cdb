import numpy as np
import pytest

from ccp_dml import losses
from tests.losses.pair_cases import finite_differences, random_case, values_and_gradients


@pytest.mark.both_backends
def test_multi_level_distance_has_no_gradient_through_statistics(generator):
    labels, embeddings, _, _ = random_case(generator, n=6, d=3)
    loss = losses.get("multi_level_distance", loss="contrastive", weight=1.0, normalize=False)
    plain = losses.get("contrastive", normalize=False)
    gradient = values_and_gradients(loss, labels, embeddings)[1][0]
    gradient = gradient - values_and_gradients(plain, labels, embeddings)[1][0]
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    distances = [np.linalg.norm(embeddings[i] - embeddings[j]) for i, j in pairs]
    mean, deviation = np.mean(distances), np.sqrt(np.var(distances) + 1e-6)

    def with_fixed_statistics(vectors):
        normalized = [
            (np.linalg.norm(vectors[i] - vectors[j]) - mean) / deviation for i, j in pairs
        ]
        return np.mean([min(abs(value - level) for level in (-3, 0, 3)) for value in normalized])

    numeric = finite_differences(with_fixed_statistics, embeddings)
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)
