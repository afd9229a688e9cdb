import itertools

import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from ccp_dml.losses.pairwise import Pairs
from ccp_dml.losses.triplet import mean_over_triplets
from tests import naive
from tests.cases import slow_except
from tests.losses.pair_cases import TOLERANCE, values_and_gradients


def test_triplet_counts_no_negative_at_exactly_the_margin():
    # D = 0.25 to the positive, 0.5 and 0.625 to the negatives, all exact in binary.
    embeddings = np.array([[0.0], [0.25], [0.5], [-0.625]], "float32")
    labels = np.array([0, 0, 1, 2])
    value = losses.get("triplet", margin=0.25)(labels, embeddings)
    assert float(value) == naive.loss("triplet", labels, embeddings, margin=0.25)


@pytest.mark.parametrize(
    ("num_classes", "counts", "jit_compile"),
    slow_except(
        # Many positives per anchor, and few; compiled, one without counts and the other with.
        [
            *itertools.product([5, 300], [None, 3.0], [False]),
            (5, None, True),
            (300, 3.0, True),
        ],
        list(itertools.product([5, 300], [None, 3.0], [False, True])),
    ),
)
def test_triplet_against_many_references(num_classes, counts, jit_compile, generator):
    n, r, margin = 6, 1200, 0.3
    labels, reference_labels = generator.integers(0, num_classes, n), np.arange(r) % num_classes
    labels[0] = num_classes  # no positive
    embeddings, references = generator.standard_normal((n, 3)), generator.standard_normal((r, 3))
    references[:20] = references[20]  # equally far
    against = {"references": references, "reference_labels": reference_labels}
    if counts:
        against["negative_counts"] = np.full(r, counts)
    distances = np.linalg.norm(
        naive.normalize(embeddings)[:, None] - naive.normalize(references), axis=2
    )
    hinges = [
        positive + margin - row[reference_labels != label]
        for label, row in zip(labels, distances, strict=True)
        for positive in row[reference_labels == label]
    ]
    hinges = np.maximum(np.concatenate(hinges), 0)

    loss = losses.get("triplet", margin=margin)
    compiled = tf.function(loss, jit_compile=jit_compile)
    value, gradients = values_and_gradients(compiled, tf.constant(labels), embeddings, **against)
    assert value == pytest.approx(hinges.sum() / np.count_nonzero(hinges), rel=TOLERANCE)

    step = 1e-6
    for which, index in [(0, (1, 0)), (0, (2, 1)), (1, (3, 2)), (1, (700, 0))]:
        values = []
        for sign in (1, -1):
            both = [embeddings.copy(), references.copy()]
            both[which][index] += sign * step
            values.append(float(loss(labels, both[0], **{**against, "references": both[1]})))
        numeric = (values[0] - values[1]) / (2 * step)
        assert gradients[which][index] == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def test_triplet_of_what_is_not_a_number_is_none(generator):
    references, labels = generator.standard_normal((1200, 3)), np.arange(1200) % 300
    embeddings = np.array([[np.nan, 0.0, 0.0], [1.0, 0.0, 0.0]])
    against = {"references": references, "reference_labels": labels}
    assert np.isnan(float(losses.get("triplet")(np.array([0, 1]), embeddings, **against)))


# The largest number of positives without sorting, and the smallest with it; and margins that some
# negatives violate, or all.
NUMBERS = [
    (32, 1024, 0.2, True),
    (32, 1031, 3.0, False),
    (33, 1031, 0.2, False),
    (33, 1024, 3.0, True),
]


@pytest.mark.parametrize(
    ("most", "r", "margin", "weighted", "jit_compile"),
    slow_except(
        [*((*case, False) for case in NUMBERS), (*NUMBERS[0], True), (*NUMBERS[2], True)],
        [(*case, jit_compile) for case in NUMBERS for jit_compile in (False, True)],
    ),
)
def test_triplet_for_every_number_of_positives(most, r, margin, weighted, jit_compile, generator):
    numbers = [0, 1, 4, 5, 8, most]
    distances = generator.uniform(0.1, 2.0, (len(numbers), r))
    positives = np.zeros(distances.shape, bool)
    for row, number in enumerate(numbers):
        positives[row, generator.choice(r, number, replace=False)] = True
    negatives = ~positives & (generator.uniform(size=r) < 0.9)
    distances[1, np.flatnonzero(positives[1])[0]] = 0.25
    distances[1, np.flatnonzero(negatives[1])[0]] = 0.25 + margin  # a hinge of zero
    for row in (3, 5):
        distances[row, np.flatnonzero(positives[row])[:3]] = 0.75  # equally far
    counts = generator.integers(1, 4, r).astype(float) if weighted else np.ones(r)

    total, count, slopes = 0.0, 0.0, np.zeros_like(distances)
    for i, j in np.argwhere(positives):
        hinges = distances[i, j] + margin - distances[i]
        weights = np.where(negatives[i] & (hinges > 0), counts, 0.0)
        total, count = total + weights @ hinges, count + weights.sum()
        slopes[i, j] += weights.sum()
        slopes[i] -= weights

    pairs = Pairs(positives, negatives, None, None, tf.constant(counts) if weighted else None)

    @tf.function(jit_compile=jit_compile)
    def compute(distances):
        with tf.GradientTape() as tape:
            tape.watch(distances)
            value = mean_over_triplets(distances, pairs, margin)
        return value, tape.gradient(value, distances)

    value, gradient = compute(tf.constant(distances))
    assert float(value) == pytest.approx(total / count, rel=1e-12)
    np.testing.assert_allclose(gradient, slopes / count, rtol=1e-12, atol=1e-15)
