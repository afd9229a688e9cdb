"""The losses whose distance or reduction can be chosen."""

import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from tests import naive
from tests.cases import slow_except
from tests.losses.pair_cases import (
    EDGE_CASES,
    TOLERANCE,
    against,
    finite_differences,
    random_case,
    values_and_gradients,
)


def cosine(a, b):
    return 1 - (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))


DISTANCES = {
    "euclidean": lambda a, b: np.linalg.norm(a - b),
    "squared_euclidean": lambda a, b: np.sum((a - b) ** 2),
    "cosine": cosine,
}


def mean(values):
    return np.mean(values) if len(values) else 0.0


def mean_of_classes(values, labels):
    return mean(
        [mean([v for v, of in zip(values, labels, strict=True) if of == label])
         for label in sorted(set(labels))]
    )  # fmt: skip


def reduce(reduction, rows, labels):
    """Reduces the terms of the anchors' pairs, given as a list for each anchor."""
    terms = np.concatenate([[], *rows])
    if reduction == "mean_nonzero":
        return mean(terms[terms > 0])
    if reduction == "mean":
        return mean(terms)
    if reduction == "sum_per_anchor":
        return np.sum(terms) / len(rows)
    means = [mean(row) for row in rows]
    return mean(means) if reduction == "per_anchor" else mean_of_classes(means, labels)


def contrastive(anchors, labels, distance, reduction):
    pull = [[max(distance(a, p) - 0.1, 0) for p in positives] for a, positives, _ in anchors]
    push = [[max(0.8 - distance(a, n), 0) for n in negatives] for a, _, negatives in anchors]
    return reduce(reduction, pull, labels) + reduce(reduction, push, labels)


def margin(anchors, labels, distance, reduction):
    rows = [
        [max(0.2 + distance(a, p) - 0.7, 0) for p in positives]
        + [max(0.2 - distance(a, n) + 0.7, 0) for n in negatives]
        for a, positives, negatives in anchors
    ]
    return reduce(reduction, rows, labels)


def cosine_contrastive(anchors, labels, distance, reduction):
    pull = [[max(1 - a @ p - 1e-5, 0) for p in positives] for a, positives, _ in anchors]
    push = [[max(a @ n - 0.1, 0) for n in negatives] for a, _, negatives in anchors]
    return reduce(reduction, pull, labels) + reduce(reduction, push, labels)


def n_pair(anchors, labels, distance, reduction):
    rows = [
        [np.log(1 + sum(np.exp((a @ n - a @ p) / 0.1) for n in negatives)) for p in positives]
        for a, positives, negatives in anchors
    ]
    return reduce(reduction, rows, labels)


def triplet(anchors, labels, distance, reduction):
    rows = [
        [max(distance(a, p) - distance(a, n) + 0.2, 0) for p in positives for n in negatives]
        for a, positives, negatives in anchors
    ]
    return reduce(reduction, rows, labels)


PAIR_LOSSES = {
    "contrastive": (contrastive, {"positive_margin": 0.1, "negative_margin": 0.8}, True),
    "margin": (margin, {"alpha": 0.2, "beta": 0.7}, True),
    "triplet": (triplet, {"margin": 0.2}, True),
    "cosine_contrastive": (cosine_contrastive, {"margin": 0.1}, False),
    "n_pair": (n_pair, {}, False),
}
REDUCTIONS_OF = {name: tuple(losses.REDUCTIONS) for name in PAIR_LOSSES}
REDUCTIONS_OF["triplet"] = ("mean_nonzero", "mean")
CASES = [
    (name, distance, reduction)
    for name, (_, _, has_distance) in PAIR_LOSSES.items()
    for distance in (DISTANCES if has_distance else ["euclidean"])
    for reduction in REDUCTIONS_OF[name]
]


def make(name, distance, reduction):
    _, params, has_distance = PAIR_LOSSES[name]
    words = {"distance": distance} if has_distance else {}
    return losses.get(name, reduction=reduction, **words, **params)


def expected(name, distance, reduction, labels, *vectors):
    anchors = list(naive.pairs(labels, *vectors))
    return PAIR_LOSSES[name][0](anchors, labels, DISTANCES[distance], reduction)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("against_references", [False, True])
@pytest.mark.parametrize(("name", "distance", "reduction"), CASES)
def test_equals_the_naive_loss(name, distance, reduction, against_references, generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    labels[0] = 17  # without a positive
    proxies = against(references, reference_labels) if against_references else {}
    value = make(name, distance, reduction)(labels, embeddings, **proxies)
    right = expected(name, distance, reduction, labels, embeddings, *proxies.values())
    assert float(value) == pytest.approx(right, rel=TOLERANCE)


QUICK = [
    ("contrastive", "cosine", "per_class"),
    ("margin", "squared_euclidean", "per_anchor"),
    ("triplet", "cosine", "mean"),
]


@pytest.mark.both_backends
@pytest.mark.parametrize(("name", "distance", "reduction"), QUICK)
def test_gradients_equal_finite_differences_of_the_naive_loss(name, distance, reduction, generator):
    labels, embeddings, references, reference_labels = random_case(generator, n=6, r=7, d=3)
    proxies = against(references, reference_labels)
    loss = make(name, distance, reduction)
    _, gradients = values_and_gradients(loss, labels, embeddings, **proxies)
    numeric = finite_differences(
        lambda vectors: expected(
            name, distance, reduction, labels, vectors, references, reference_labels
        ),
        embeddings,
    )
    tolerance = max(1e-6, TOLERANCE)
    np.testing.assert_allclose(gradients[0], numeric, atol=tolerance, rtol=tolerance)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("case", EDGE_CASES)
@pytest.mark.parametrize(("name", "distance", "reduction"), QUICK)
def test_edge_cases_are_finite(name, distance, reduction, case):
    labels, embeddings = EDGE_CASES[case]
    value, gradients = values_and_gradients(
        make(name, distance, reduction), np.array(labels), np.array(embeddings, "float32")
    )
    assert np.isfinite(value)
    assert np.isfinite(gradients[0]).all()


@pytest.mark.both_backends
def test_equal_vectors_are_at_cosine_distance_zero(generator):
    vectors = generator.standard_normal((4, 5)).astype("float32")
    distances = np.asarray(losses.DISTANCES["cosine"](vectors, 3 * vectors))
    assert np.abs(np.diagonal(distances)).max() < 1e-12
    zero = np.asarray(losses.DISTANCES["cosine"](np.zeros((1, 5), "float32"), vectors))
    np.testing.assert_allclose(zero, 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("num_classes", "jit_compile"),
    slow_except(
        # Many positives per anchor, and few.
        [(5, False), (300, False), (300, True)],
        [(5, False), (300, False), (5, True), (300, True)],
    ),
)
def test_mean_over_all_triplets_of_many_references(num_classes, jit_compile, generator):
    labels, reference_labels = generator.integers(0, num_classes, 6), np.arange(1200) % num_classes
    embeddings = generator.standard_normal((6, 3))
    references = generator.standard_normal((1200, 3))
    proxies = against(references, reference_labels)
    # As in `triplet` above, which would be slow for so many.
    distances = np.linalg.norm(
        naive.normalize(embeddings)[:, None] - naive.normalize(references), axis=2
    )
    hinges = [
        positive + 0.2 - row[reference_labels != label]
        for label, row in zip(labels, distances, strict=True)
        for positive in row[reference_labels == label]
    ]
    right = np.maximum(np.concatenate(hinges), 0).mean()
    nonzero, others = values_and_gradients(
        losses.get("triplet", margin=0.2), labels, embeddings, **proxies
    )
    loss = losses.get("triplet", margin=0.2, reduction="mean")
    compiled = tf.function(loss, jit_compile=jit_compile)
    for counts in (1.0, 3.0):
        value, gradients = values_and_gradients(
            compiled,
            tf.constant(labels),
            embeddings,
            **proxies,
            negative_counts=tf.constant(np.full(1200, counts)),
        )
        assert value == pytest.approx(right, rel=TOLERANCE)
        # The only difference is a factor: the share of triplets that are violated.
        np.testing.assert_allclose(gradients[0], others[0] * value / nonzero, rtol=1e-6, atol=1e-12)


MINED = {"hard": (-np.inf, 0.0), "semi_hard": (0.0, 0.2), "easy": (0.2, np.inf)}


def every_mined():
    for margin in (0.1, 0.5):
        for miner, bounds in MINED.items():
            # These hinges are small differences of distances. In float32, as on JAX, the number of
            # correct digits depends on where XLA rounds.
            is_slow_on_jax = (margin, miner) == (0.1, "semi_hard")
            mark = pytest.mark.both_backends(slow=is_slow_on_jax)
            yield pytest.param(miner, *bounds, margin, marks=mark)


@pytest.mark.parametrize(("miner", "lower", "upper", "margin"), list(every_mined()))
def test_mean_over_mined_triplets(miner, lower, upper, margin, generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    loss = losses.Mined(losses.get("triplet", margin=margin, reduction="mean"), miner)
    hinges = [
        max(naive._distance(a, p) - naive._distance(a, n) + margin, 0)
        for a, positives, negatives in naive.pairs(labels, embeddings, references, reference_labels)
        for p in positives
        for n in negatives
        if lower < naive._distance(a, n) - naive._distance(a, p) <= upper
    ]
    value = loss(labels, embeddings, **against(references, reference_labels))
    easier = miner == "easy" and margin == 0.1
    assert float(value) == (0 if easier else pytest.approx(np.mean(hinges), rel=TOLERANCE))


ANCHOR_LOSSES = ("multi_similarity", "proxy_nca", "normalized_softmax", "sup_con", "circle")


@pytest.mark.both_backends
@pytest.mark.parametrize("name", ANCHOR_LOSSES)
def test_classes_count_the_same_however_many_anchors_are_of_them(name, generator):
    _, embeddings, references, reference_labels = random_case(generator, n=9)
    # The last has no positive, and only multi-similarity counts it.
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 2, 17])
    proxies = against(references, reference_labels)
    values = [
        naive.loss(name, labels[i : i + 1], embeddings[i : i + 1], **proxies) for i in range(9)
    ]
    count = 9 if name == "multi_similarity" else 8
    right = mean_of_classes(values[:count], labels[:count])
    value = losses.get(name, reduction="per_class")(labels, embeddings, **proxies)
    assert float(value) == pytest.approx(right, rel=TOLERANCE)
    every = losses.get(name, reduction="per_anchor")(labels, embeddings, **proxies)
    assert float(every) == pytest.approx(np.mean(values[:count]), rel=TOLERANCE)
    assert float(every) != pytest.approx(right, rel=1e-3)


def test_negatives_that_count_several_times(generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    own = np.isin(reference_labels, labels[:4])
    labels[4:] = labels[0]
    repeated = np.concatenate([np.flatnonzero(own), np.tile(np.flatnonzero(~own), 3)])
    counts = np.where(own, 1.0, 3.0)
    for reduction in losses.REDUCTIONS:
        loss = make("contrastive", "euclidean", reduction)
        proxies = against(references, reference_labels)
        value = float(loss(labels, embeddings, **proxies, negative_counts=counts))
        proxies = against(references[repeated], reference_labels[repeated])
        assert value == pytest.approx(float(loss(labels, embeddings, **proxies)), rel=TOLERANCE)


@pytest.mark.parametrize("name", [*PAIR_LOSSES, *ANCHOR_LOSSES])
def test_config_round_trip(name):
    words = {"distance": "cosine"} if "distance" in losses.word_parameters(name) else {}
    words["reduction"] = "mean" if name in PAIR_LOSSES else "per_class"
    config = losses.serialize(losses.get(name, **words))
    assert {word: losses.get(config).get_config()[word] for word in words} == words


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "contrastive",
            {"distance": "cosin"},
            "distance must be one of euclidean, .*did you mean cosine",
        ),
        ("triplet", {"reduction": "per_anchor"}, "one of mean_nonzero, mean; got 'per_anchor'"),
        ("margin", {"reduction": 1.0}, "reduction must be one of mean_nonzero, .*; got 1.0"),
        ("circle", {"reduction": "mean"}, "one of per_anchor, per_class; got 'mean'"),
        ("proxy_nca", {"reduction": "mean"}, "one of per_anchor, per_class; got 'mean'"),
    ],
)
def test_errors_say_what_is_allowed(name, params, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **params)
