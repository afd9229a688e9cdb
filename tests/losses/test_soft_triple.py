import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import against, values_and_gradients


@pytest.mark.both_backends(slow=True)
def test_soft_triple_is_finite_for_equal_proxies():
    loss = losses.get("soft_triple", proxies_per_class=2)
    labels = np.array([0, 0, 1, 1])
    for vectors in (np.zeros((4, 3)), np.ones((4, 3)), np.full((4, 3), 0.3)):
        value, gradients = values_and_gradients(loss, labels, vectors, **against(vectors, labels))
        expected = naive.soft_triple(labels, vectors, vectors, labels, proxies_per_class=2)
        assert value == pytest.approx(expected)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
