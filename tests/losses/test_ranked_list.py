import numpy as np
import pytest

from ccp_dml import losses


@pytest.mark.both_backends
def test_balance_weighs_the_two_lists():
    embeddings, labels = np.array([[0.0], [0.75], [1.0]]), np.array([0, 0, 1])
    values = [
        float(losses.get("ranked_list", alpha=1.0, margin=0.5, balance=balance)(labels, embeddings))
        for balance in (0.0, 1.0)
    ]
    assert values == pytest.approx([(0.25 + 0.25) / 3, (0.75 + 0.75) / 3], rel=1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"balance": 1.5}, "balance must be at most 1; got 1.5"),
        ({"balance": -1}, "balance must be at least 0; got -1"),
        ({"temperature": -1}, "temperature must be at least 0; got -1"),
    ],
)
def test_parameters_out_of_range_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        losses.get("ranked_list", **params)
