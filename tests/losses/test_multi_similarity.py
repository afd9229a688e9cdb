import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import values_and_gradients


@pytest.mark.both_backends
def test_multi_similarity_does_not_overflow():
    embeddings = np.array([[1.0, 0], [-1, 0], [1, 0]], "float32")
    loss = losses.get("multi_similarity", alpha=100.0, beta=100.0)
    value, gradients = values_and_gradients(loss, np.array([0, 0, 1]), embeddings)
    assert value == pytest.approx(
        naive.loss("multi_similarity", [0, 0, 1], embeddings, alpha=100.0, beta=100.0), rel=1e-5
    )
    assert np.isfinite(gradients[0]).all()
