"""Miners of triplets, against a list of all triplets."""

import numpy as np
import pytest

from ccp_dml import losses, miners
from tests import naive
from tests.losses.pair_cases import (
    EDGE_CASES,
    TOLERANCE,
    against,
    finite_differences,
    random_case,
    values_and_gradients,
)

MARGIN = 0.2
IS_CHOSEN = {
    "hard": lambda positive, negative: negative <= positive,
    "semi_hard": lambda positive, negative: positive < negative <= positive + MARGIN,
    "easy": lambda positive, negative: negative > positive + MARGIN,
}


def expected_loss(kind, anchors, margin):
    hinges = []
    for anchor, positives, negatives in anchors:
        for p in positives:
            for n in negatives:
                positive, negative = np.linalg.norm(anchor - p), np.linalg.norm(anchor - n)
                if IS_CHOSEN[kind](positive, negative) and positive - negative + margin > 0:
                    hinges.append(positive - negative + margin)
    return np.mean(hinges) if hinges else 0.0


def mined(kind, margin):
    params = {} if kind == "hard" else {"margin": MARGIN}
    return losses.Mined(losses.Triplet(margin=margin), miners.get(kind, **params))


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("margin", [0.1, MARGIN, 0.7])
@pytest.mark.parametrize("kind", miners.TRIPLET_MINERS)
def test_triplets_are_chosen_one_by_one(kind, margin, generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    for given in ((), (references, reference_labels)):
        options = against(*given) if given else {}
        value, gradients = values_and_gradients(mined(kind, margin), labels, embeddings, **options)

        def compute(vectors, given=given):
            return expected_loss(kind, naive.pairs(labels, vectors, *given), margin)

        assert value == pytest.approx(compute(embeddings), abs=TOLERANCE)
        assert (value > 0) == (kind != "easy" or margin > MARGIN)
        numeric = finite_differences(compute, embeddings)
        np.testing.assert_allclose(gradients[0], numeric, atol=1e-5)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("kind", miners.TRIPLET_MINERS)
@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_are_finite(kind, case):
    labels, embeddings = EDGE_CASES[case]
    value, gradients = values_and_gradients(
        mined(kind, 0.5), np.array(labels), np.asarray(embeddings)
    )
    expected = expected_loss(kind, naive.pairs(labels, embeddings), 0.5)
    assert value == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(gradients[0]).all()


@pytest.mark.both_backends
def test_the_three_kinds_make_up_all_triplets(generator):
    labels, embeddings, *_ = random_case(generator, n=30)
    anchors = list(naive.pairs(labels, embeddings))
    counts = {
        kind: sum(
            IS_CHOSEN[kind](np.linalg.norm(a - p), np.linalg.norm(a - n))
            for a, positives, negatives in anchors
            for p in positives
            for n in negatives
        )
        for kind in IS_CHOSEN
    }
    # With a margin so large that every hinge is above zero, the means are weighted by the counts.
    values = {
        kind: values_and_gradients(mined(kind, 5.0), labels, embeddings)[0] for kind in counts
    }
    whole = values_and_gradients(losses.Triplet(margin=5.0), labels, embeddings)[0]
    total = sum(counts[kind] * values[kind] for kind in counts) / sum(counts.values())
    assert whole == pytest.approx(total, rel=1e-5)


def test_losses_without_triplets_refuse_them():
    with pytest.raises(
        ValueError, match="SemiHardMiner chooses triplets, but Contrastive is not a loss over tri"
    ):
        losses.Mined(losses.Contrastive(), "semi_hard")


def test_they_are_saved():
    loss = losses.Mined(losses.Triplet(margin=0.4), miners.EasyMiner(margin=0.3))
    copy = losses.deserialize(losses.serialize(loss))
    assert (copy.loss.margin, copy.miner.margin, type(copy.miner)) == (0.4, 0.3, miners.EasyMiner)
