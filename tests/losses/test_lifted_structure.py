import numpy as np
import pytest

from ccp_dml import losses
from tests.losses.pair_cases import TOLERANCE


@pytest.mark.both_backends
def test_the_negatives_of_both_ends_count():
    # The negative is at 0.1 from the positive, and at 0.9 from the anchor.
    embeddings, labels = np.array([[0.0], [0.8], [0.9]]), np.array([0, 0, 1])
    value = float(losses.get("lifted_structure", alpha=0.5)(labels, embeddings))
    lifted = np.log(np.exp(0.5 - 0.9) + np.exp(0.5 - 0.1)) + 0.8
    assert value == pytest.approx(lifted**2 / 2, rel=TOLERANCE)
