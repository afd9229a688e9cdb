import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ccp_dml import losses
from tests.losses.pair_cases import against


@pytest.mark.both_backends
def test_samples_in_bins_of_their_own_give_the_average_precision(generator):
    places = generator.permutation(20)[:12]
    # The squared distances, 2 − 2cos, are at the centres of these bins.
    cosines = 1 - 2 * places / 20
    references = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    labels = np.arange(12) % 3
    loss = losses.get("fast_ap", num_bins=20)
    value = float(loss(np.array([0]), np.array([[1.0, 0.0]]), **against(references, labels)))
    assert value == pytest.approx(1 - average_precision_score(labels == 0, -places), abs=1e-5)


@pytest.mark.both_backends
def test_vectors_that_are_too_far_apart_come_last():
    embeddings, labels = np.array([[0.0], [0.5], [3.0], [9.0]]), np.array([0, 1, 0, 1])
    loss = losses.get("fast_ap", normalize=False)
    anchor, labels_of_references = embeddings[:1], labels[1:]
    value = float(loss(labels[:1], anchor, **against(embeddings[1:], labels_of_references)))
    # One negative is nearer, and one in the same bin: a precision of a third.
    assert value == pytest.approx(1 - 1 / 3, rel=1e-6)
