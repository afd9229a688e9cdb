import numpy as np
import pytest
from keras import ops
from sklearn.metrics import average_precision_score

from ccp_dml import losses
from ccp_dml.losses.soft_ranks import compute_soft_ranks
from tests.losses.pair_cases import against


@pytest.mark.both_backends
def test_cold_ranks_are_ranks(generator):
    similarities = generator.standard_normal((4, 9)).astype("float32")
    ranks = compute_soft_ranks(similarities, np.ones((4, 9, 1), "float32"), temperature=1e-4)
    expected = 1 + np.argsort(np.argsort(-similarities, axis=1), axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(ranks)[..., 0], expected, atol=1e-3)


@pytest.mark.both_backends
@pytest.mark.parametrize("name", ["smooth_ap", "recall_at_k_surrogate"])
def test_cold_losses_are_the_metric(name, generator):
    labels, reference_labels = np.arange(3), np.arange(15) % 3
    embeddings, references = (generator.standard_normal((n, 4)) / 3 for n in (3, 15))
    scores = embeddings @ references.T
    if name == "smooth_ap":
        loss = losses.get(name, temperature=1e-4)
        metrics = [
            average_precision_score(reference_labels == label, row)
            for label, row in zip(labels, scores, strict=True)
        ]
    else:
        loss = losses.get(name, largest_k=7, temperature=0.05, rank_temperature=1e-4)
        order = np.argsort(-scores, axis=1)
        is_own = reference_labels[order] == labels[:, None]
        # A positive at rank k itself is at σ(0).
        metrics = [(is_own[:, :k].sum(1) - is_own[:, k - 1] / 2) / 5 for k in (1, 2, 4)]
    value = float(loss(labels, embeddings, **against(references, reference_labels)))
    assert value == pytest.approx(1 - np.mean(metrics), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("smooth_ap", {"temperature": 0}, "temperature must be above 0; got 0"),
        ("recall_at_k_surrogate", {"rank_temperature": 0}, "rank_temperature must be above 0"),
        ("recall_at_k_surrogate", {"temperature": 0}, "temperature must be above 0; got 0"),
        ("recall_at_k_surrogate", {"largest_k": 0.5}, "whole number of at least 1; got 0.5"),
        ("fast_ap", {"num_bins": 0}, "num_bins must be a whole number of at least 1; got 0"),
        ("circle", {"gamma": 0}, "gamma must be above 0; got 0"),
    ],
)
def test_parameters_out_of_range_are_refused(name, params, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **params)
