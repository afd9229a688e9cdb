import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import against, finite_differences, random_case


def test_boundaries_of_classes_are_learned(generator):
    labels, embeddings, references, reference_labels = random_case(generator, n=8)
    loss = losses.get("margin", nu=0.3)
    assert loss.initial_weights(4)["boundaries"].tolist() == [np.float32(1.2)] * 4
    proxies = against(references, reference_labels)
    boundaries = tf.constant(np.array([0.9, 1.0, 1.1, 1.3]))
    with tf.GradientTape() as tape:
        tape.watch(boundaries)
        value = loss(labels, embeddings, **proxies, boundaries=boundaries)

    def naive_loss(betas):
        pairs = naive.pairs(labels, embeddings, references, reference_labels)
        return naive.margin(pairs, beta=betas[labels], nu=0.3)

    assert float(value) == pytest.approx(naive_loss(boundaries.numpy()), rel=1e-9)
    numeric = finite_differences(naive_loss, boundaries.numpy())
    np.testing.assert_allclose(tape.gradient(value, boundaries), numeric, atol=1e-6)
