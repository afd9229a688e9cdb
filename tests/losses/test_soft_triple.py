import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import against, values_and_gradients


@pytest.mark.both_backends
@pytest.mark.parametrize("reference_labels", [[0, 0, 1, 1, 1], [0, 0, 0, 1]])
def test_soft_triple_wants_as_many_proxies_of_each_class(reference_labels):
    loss = losses.get("soft_triple", proxies_per_class=2)
    references = np.zeros((len(reference_labels), 3))
    with pytest.raises(ValueError, match="2 references of each class"):
        loss(np.zeros(2), np.zeros((2, 3)), **against(references, np.array(reference_labels)))


@pytest.mark.both_backends(slow=True)
def test_soft_triple_is_finite_for_equal_proxies():
    loss = losses.get("soft_triple", proxies_per_class=2)
    labels = np.array([0, 0, 1, 1])
    for vectors in (np.zeros((4, 3)), np.ones((4, 3)), np.full((4, 3), 0.3)):
        value, gradients = values_and_gradients(loss, labels, vectors, **against(vectors, labels))
        expected = naive.soft_triple(labels, vectors, vectors, labels, proxies_per_class=2)
        assert value == pytest.approx(expected)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
