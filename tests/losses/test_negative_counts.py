"""References that stand for several negatives, as when only some classes are drawn."""

import itertools

import numpy as np
import pytest

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import TOLERANCE, against, values_and_gradients

OWN_CLASSES = 2
PARAMS = {
    "soft_triple": {"proxies_per_class": 2},
    "sub_center_arcface": {"proxies_per_class": 2},
    "multi_level_distance": {"loss": "contrastive"},
}
# How to compute the sum inside the logarithm from the loss of one anchor.
SUMS = {
    "multi_similarity": lambda value: np.expm1(40 * value),
    "proxy_nca": np.expm1,
    "normalized_softmax": np.expm1,
    "n_pair": np.expm1,
    "soft_triple": np.expm1,
}


def case(generator, name, classes=7):
    """Samples of the first classes, and references of all of them, near enough to count."""
    per_class = PARAMS.get(name, {}).get("proxies_per_class", 1)
    labels = np.arange(6) % OWN_CLASSES
    reference_labels = np.tile(np.arange(classes), per_class)
    center = np.array([0.8, 0.0, 0.0])
    embeddings = center + 0.2 * generator.standard_normal((6, 3))
    references = center + 0.2 * generator.standard_normal((len(reference_labels), 3))
    return labels, embeddings, references, reference_labels


def repeat_negatives(references, reference_labels, times):
    """Repeats each class without samples as often as it counts, each time under another label."""
    rows, labels, next_label = [], [], 100
    for label in np.unique(reference_labels):
        class_rows = np.flatnonzero(reference_labels == label)
        is_own = label < OWN_CLASSES
        for _ in range(1 if is_own else times):
            rows.append(class_rows)
            labels.append(np.full(len(class_rows), label if is_own else next_label))
            next_label += 1
    return references[np.concatenate(rows)], np.concatenate(labels)


def counts_of(reference_labels, times):
    return np.where(reference_labels < OWN_CLASSES, 1.0, times)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", [*sorted(losses.LOSSES), "multi_level_distance"])
def test_a_negative_that_counts_three_times_is_three_negatives(name, generator):
    labels, embeddings, references, reference_labels = case(generator, name)
    params = {**PARAMS.get(name, {})}
    loss = losses.get(name, **params)
    value = loss(
        labels,
        embeddings,
        references=references,
        reference_labels=reference_labels,
        negative_counts=counts_of(reference_labels, 3),
    )
    repeated = repeat_negatives(references, reference_labels, 3)
    if name == "multi_level_distance":
        pairs = list(naive.pairs(labels, embeddings, *repeated))
        expected = naive.contrastive(pairs) + 0.1 * naive.multi_level_distance(pairs)
    else:
        expected = naive.loss(name, labels, embeddings, *repeated, **params)
    assert float(value) == pytest.approx(expected, rel=TOLERANCE)
    once = naive.loss("contrastive", labels, embeddings, references, reference_labels)
    assert expected != pytest.approx(once, rel=1e-3)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", ["virtual_softmax", "proxy_synthesis"])
def test_references_that_a_wrapper_adds_count_once(name, generator):
    labels, embeddings, references, reference_labels = case(generator, name)
    loss = losses.get(name, loss="normalized_softmax")
    counted = loss(
        labels,
        embeddings,
        references=references,
        reference_labels=reference_labels,
        seed=1,
        negative_counts=counts_of(reference_labels, 3),
    )
    repeated, repeated_labels = repeat_negatives(references, reference_labels, 3)
    expected = loss(
        labels, embeddings, references=repeated, reference_labels=repeated_labels, seed=1
    )
    assert float(counted) == pytest.approx(float(expected), rel=TOLERANCE)


def draws(reference_labels, classes=7, count=3):
    """Every draw of `count` other classes: its rows, and how many negatives each row counts as."""
    others = range(OWN_CLASSES, classes)
    for drawn in itertools.combinations(others, count):
        rows = np.flatnonzero(np.isin(reference_labels, [*range(OWN_CLASSES), *drawn]))
        yield rows, counts_of(reference_labels[rows], len(others) / count)


def values_over_draws(loss, labels, embeddings, references, reference_labels):
    return [
        float(
            loss(
                labels,
                embeddings,
                references=references[rows],
                reference_labels=reference_labels[rows],
                negative_counts=counts,
            )
        )
        for rows, counts in draws(reference_labels)
    ]


@pytest.mark.parametrize("name", ["cosine_contrastive", "proxy_anchor"])
def test_the_mean_over_all_draws_is_the_whole_loss(name, generator):
    labels, embeddings, references, reference_labels = case(generator, name)
    values = values_over_draws(losses.get(name), labels, embeddings, references, reference_labels)
    expected = naive.loss(name, labels, embeddings, references, reference_labels)
    assert np.mean(values) == pytest.approx(expected, rel=TOLERANCE)
    assert np.std(values) > 1e-3 * expected


@pytest.mark.parametrize("name", sorted(SUMS))
def test_the_mean_of_the_sum_inside_the_logarithm_is_the_whole_sum(name, generator):
    _, embeddings, references, reference_labels = case(generator, name)
    # Multi-similarity has a second logarithm, over positives: this anchor has none.
    labels = np.array([-1 if name == "multi_similarity" else 0])
    params = PARAMS.get(name, {}) | ({"tau": 0.0} if name == "soft_triple" else {})
    values = values_over_draws(
        losses.get(name, **params), labels, embeddings[:1], references, reference_labels
    )
    expected = naive.loss(name, labels, embeddings[:1], references, reference_labels, **params)
    sums = SUMS[name](np.array(values))
    assert np.mean(sums) == pytest.approx(SUMS[name](expected), rel=TOLERANCE)


@pytest.mark.both_backends(slow=True)
def test_what_a_miner_takes_counts_once(generator):
    labels, embeddings, references, reference_labels = case(generator, "triplet")
    loss = losses.Mined(losses.Triplet(margin=0.5), "hardest_pairs")
    proxies = {"references": references, "reference_labels": reference_labels}
    counts = counts_of(reference_labels, 3)
    counted = loss(labels, embeddings, **proxies, negative_counts=counts)
    assert float(counted) == float(loss(labels, embeddings, **proxies)) > 0


@pytest.mark.both_backends(slow=True)
def test_gradients_are_those_of_repeated_negatives(generator):
    labels, embeddings, references, reference_labels = case(generator, "multi_similarity")
    loss = losses.get("multi_similarity")

    def gradient(references, reference_labels, **counts):
        proxies = against(references, reference_labels)
        return values_and_gradients(loss, labels, embeddings, **proxies, **counts)[1][0]

    counts = counts_of(reference_labels, 3)
    counted = gradient(references, reference_labels, negative_counts=counts)
    repeated = gradient(*repeat_negatives(references, reference_labels, 3))
    np.testing.assert_allclose(counted, repeated, rtol=TOLERANCE, atol=TOLERANCE)
