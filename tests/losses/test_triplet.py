import numpy as np

from ccp_dml import losses
from tests import naive


def test_triplet_counts_no_negative_at_exactly_the_margin():
    # D = 0.25 to the positive, 0.5 and 0.625 to the negatives, all exact in binary.
    embeddings = np.array([[0.0], [0.25], [0.5], [-0.625]], "float32")
    labels = np.array([0, 0, 1, 2])
    value = losses.get("triplet", margin=0.25)(labels, embeddings)
    assert float(value) == naive.loss("triplet", labels, embeddings, margin=0.25)
