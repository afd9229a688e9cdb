import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.automatic_gradients import value_and_gradients
from tests.losses.pair_cases import TOLERANCE, against, finite_differences, random_case


@pytest.mark.both_backends
def test_boundaries_of_classes_are_learned(generator):
    labels, embeddings, references, reference_labels = random_case(generator, n=8)
    loss = losses.get("margin", nu=0.3)
    assert loss.initial_weights(4)["boundaries"].tolist() == [np.float32(1.2)] * 4
    proxies = against(references, reference_labels)
    boundaries = np.array([0.9, 1.0, 1.1, 1.3])
    value, (gradient,) = value_and_gradients(
        lambda boundaries: loss(labels, embeddings, **proxies, boundaries=boundaries), boundaries
    )

    def naive_loss(betas):
        pairs = naive.pairs(labels, embeddings, references, reference_labels)
        return naive.margin(pairs, beta=betas[labels], nu=0.3)

    assert float(value) == pytest.approx(naive_loss(boundaries), rel=TOLERANCE)
    numeric = finite_differences(naive_loss, boundaries)
    np.testing.assert_allclose(gradient, numeric, atol=max(1e-6, TOLERANCE))
