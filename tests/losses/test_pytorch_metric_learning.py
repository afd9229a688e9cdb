"""Losses compared with those of pytorch-metric-learning, where it is installed."""

import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import TOLERANCE, against, values_and_gradients

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("pytorch_metric_learning.losses")

CLASSES, SAMPLES, SIZE = 5, 4, 6
LABELS = np.repeat(np.arange(CLASSES), SAMPLES)
HALF = np.degrees(0.5)


@pytest.fixture
def embeddings(generator):
    """Overlapping classes on the unit sphere, where the other library's normalisation puts them."""
    centers = generator.standard_normal((CLASSES, SIZE))
    return naive.normalize(10 * (centers[LABELS] + generator.standard_normal((20, SIZE))))


def of_theirs(loss, embeddings, labels=LABELS, **options):
    """Their value, and its gradient with respect to the embeddings."""
    vectors = torch.tensor(embeddings, requires_grad=True)
    value = loss(vectors, torch.tensor(labels), **options)
    value.backward()
    return value.item(), vectors.grad.numpy()


def tangential(gradient, vectors):
    """The gradient without its part along the vectors, which their normalisation removes."""
    return gradient - np.sum(gradient * vectors, axis=1, keepdims=True) * vectors


def assert_equal(ours, other, vectors, tolerance=TOLERANCE):
    (value, gradient), (their_value, their_gradient) = ours, other
    assert value == pytest.approx(their_value, rel=tolerance)
    np.testing.assert_allclose(
        tangential(gradient, vectors), tangential(their_gradient, vectors), atol=tolerance
    )


WITHIN_BATCH = {
    "sup_con": (losses.get("sup_con"), lambda: theirs.SupConLoss(temperature=0.1)),
    "nt_xent": (losses.get("nt_xent"), lambda: theirs.NTXentLoss(temperature=0.1)),
    "circle": (losses.get("circle"), lambda: theirs.CircleLoss(m=0.4, gamma=80)),
    "angular": (losses.get("angular"), lambda: theirs.AngularLoss(alpha=45)),
    "lifted_structure": (
        losses.get("lifted_structure"),
        lambda: theirs.LiftedStructureLoss(neg_margin=1, pos_margin=0),
    ),
    "fast_ap": (losses.get("fast_ap"), lambda: theirs.FastAPLoss(num_bins=10)),
}


@pytest.mark.both_backends
@pytest.mark.parametrize("name", WITHIN_BATCH)
def test_losses_within_a_batch_are_theirs(name, embeddings):
    ours, make_theirs = WITHIN_BATCH[name]
    value, (gradient,) = values_and_gradients(ours, LABELS, embeddings)
    assert_equal((value, gradient), of_theirs(make_theirs(), embeddings), embeddings)


@pytest.mark.both_backends
def test_ranked_lists_are_theirs_where_the_weights_have_no_gradient(embeddings):
    for temperature in (0.0, 10.0):
        ours = losses.get("ranked_list", temperature=temperature)
        value, (gradient,) = values_and_gradients(ours, LABELS, embeddings)
        other, their_gradient = of_theirs(
            theirs.RankedListLoss(margin=0.4, Tn=temperature, alpha=1.2), embeddings
        )
        # They add 1e-5 to the weight of every sample.
        assert value == pytest.approx(other, rel=2e-4)
        difference = np.abs(tangential(gradient - their_gradient, embeddings)).max()
        assert (difference < 1e-4) == (temperature == 0.0)


@pytest.mark.both_backends
def test_smooth_ap_against_the_batch_itself_is_theirs(embeddings):
    # Theirs requires as many classes as samples per class, and rounds to float32.
    embeddings, labels = embeddings[: SAMPLES**2], LABELS[: SAMPLES**2]
    value, gradients = values_and_gradients(
        losses.get("smooth_ap"), labels, embeddings, **against(embeddings, labels)
    )
    other = of_theirs(theirs.SmoothAPLoss(temperature=0.01), embeddings, labels)
    assert_equal((value, sum(gradients)), other, embeddings, max(1e-6, TOLERANCE))


def with_proxies(their_class, proxies, **options):
    loss = their_class(num_classes=CLASSES, embedding_size=SIZE, **options)
    loss.W.data = torch.tensor(proxies.T.copy())
    return loss


@pytest.mark.both_backends
@pytest.mark.parametrize(
    ("name", "their_class", "margin", "per_class"),
    [
        ("arcface", "ArcFaceLoss", HALF, 1),
        ("cosface", "CosFaceLoss", 0.35, 1),
        ("sub_center_arcface", "SubCenterArcFaceLoss", HALF, 3),
    ],
)
def test_losses_of_proxies_are_theirs(name, their_class, margin, per_class, embeddings, generator):
    labels = np.repeat(np.arange(CLASSES), per_class)
    proxies = naive.normalize(10 * generator.standard_normal((len(labels), SIZE)))
    # The angle between the first sample and its class, plus the margin, then exceeds π.
    shifted = -embeddings[0] + 0.1 * generator.standard_normal((per_class, SIZE))
    proxies[:per_class] = naive.normalize(10 * shifted)
    options = {"proxies_per_class": per_class} if per_class > 1 else {}
    value, gradients = values_and_gradients(
        losses.get(name, **options), LABELS, embeddings, **against(proxies, labels)
    )
    options = {"sub_centers": per_class} if per_class > 1 else {}
    their_loss = with_proxies(
        getattr(theirs, their_class), proxies, margin=margin, scale=64, **options
    )
    other = of_theirs(their_loss, embeddings)
    assert_equal((value, gradients[0]), other, embeddings)
    assert_equal((value, gradients[1]), (other[0], their_loss.W.grad.numpy().T), proxies)


@pytest.mark.both_backends
@pytest.mark.parametrize("name", ["sup_con", "nt_xent", "circle", "angular"])
def test_losses_against_references_are_theirs(name, embeddings, generator):
    references = naive.normalize(10 * generator.standard_normal((15, SIZE)))
    reference_labels = np.arange(15) % CLASSES
    options = {
        "ref_emb": torch.tensor(references),
        "ref_labels": torch.tensor(reference_labels),
    }
    ours, make_theirs = WITHIN_BATCH[name]
    value, gradients = values_and_gradients(
        ours, LABELS, embeddings, **against(references, reference_labels)
    )
    other = of_theirs(make_theirs(), embeddings, **options)
    assert_equal((value, gradients[0]), other, embeddings)
