import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import values_and_gradients


@pytest.mark.both_backends
def test_large_scales_do_not_overflow():
    embeddings, labels = np.array([[1.0, 0], [-1, 0], [1, 0]], "float32"), np.array([0, 0, 1])
    value, (gradient,) = values_and_gradients(
        losses.get("circle", margin=0.25, gamma=256.0), labels, embeddings
    )
    # log(1 + e^x) is x where x exceeds a thousand; NumPy would overflow.
    pull, push = 256 * 2.25 * 1.75, 256 * 1.25 * 0.75
    assert value == pytest.approx(pull + push / 2, rel=1e-6)  # The second's negative weighs 0.
    assert np.isfinite(gradient).all()


@pytest.mark.both_backends
def test_anchors_without_a_positive_or_a_negative_do_not_count(generator):
    embeddings, labels = generator.standard_normal((5, 3)) / 2, np.array([0, 0, 1, 1, 2])
    value = float(losses.get("circle")(labels, embeddings))
    references = {"references": embeddings[:4], "reference_labels": labels[:4]}
    assert value == pytest.approx(naive.loss("circle", labels, embeddings), rel=1e-5)
    alone = float(losses.get("circle")(labels[4:], embeddings[4:], **references))
    assert alone == 0.0
