import numpy as np
import pytest
from keras import ops

from ccp_dml.losses.distances import euclidean_distances, squared_distances


@pytest.mark.both_backends
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_distances_of_equal_vectors_are_exactly_zero(offset, generator):
    for d in (2, 128, 2048):
        vectors = (generator.standard_normal((50, d)) + offset).astype("float32")
        distances = ops.convert_to_numpy(squared_distances(vectors, vectors))
        assert (np.diag(distances) == 0).all()
        assert (distances[~np.eye(50, dtype=bool)] > 0).all()


@pytest.mark.both_backends
def test_distances_keep_their_precision_far_from_the_origin(generator):
    vectors = (generator.standard_normal((20, 8)) * 1e-3 + 1).astype("float32")
    exact = np.linalg.norm(vectors[:, None].astype("float64") - vectors[None], axis=2)
    np.testing.assert_allclose(euclidean_distances(vectors, vectors), exact, rtol=1e-3)
