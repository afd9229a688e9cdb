import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import values_and_gradients


@pytest.mark.both_backends
@pytest.mark.parametrize("alpha", [1.0, 60.0])
def test_sums_of_opposite_vectors_stay_in_range(alpha):
    # One negative equals the anchor and is opposite to the positive; another, the other way round.
    embeddings = np.array([[1.0, 0], [-1, 0], [1, 0], [-1, 0], [0.1, 0.2]], "float32")
    labels = np.array([0, 0, 1, 1, 2])
    value, (gradient,) = values_and_gradients(
        losses.get("angular", alpha=alpha), labels, embeddings
    )
    assert value == pytest.approx(naive.loss("angular", labels, embeddings, alpha=alpha), rel=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("alpha", "message"), [(0, "above 0; got 0"), (61, "at most 60; got 61")])
def test_angles_out_of_range_are_refused(alpha, message):
    with pytest.raises(ValueError, match=f"alpha must be {message}"):
        losses.get("angular", alpha=alpha)
