"""Metrics of the whole ranking and of each query."""

import numpy as np
import pytest
import sklearn.metrics

from ccp_dml.evaluation import (
    metrics_by_query,
    neighbors,
    query_ranking,
    retrieval_by_query,
    retrieval_metrics,
)
from tests import naive

NAMES = ("map", "mrr", "map_at_1", "map_at_5", "map_at_1000")
DEPTHS = (1, 5, 1000)


def random_case(generator, n, classes, d=6):
    labels = generator.integers(0, classes, n)
    return generator.standard_normal((n, d)) + generator.standard_normal((classes, d))[
        labels
    ], labels


@pytest.fixture(params=["counted", "sorted"])
def way(request, monkeypatch):
    """How the ranks of relevant samples are found: by counting, or from a sorted ranking."""
    monkeypatch.setattr(query_ranking, "_MAX_COUNTED", 10**9 if request.param == "counted" else 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 3, 40])
def test_equals_the_naive_metrics(classes, dtype, generator):
    embeddings, labels = random_case(generator, n=120, classes=classes)
    embeddings = embeddings.astype(dtype)
    gallery, gallery_labels = random_case(generator, n=90, classes=classes + 2)
    for rest in [(), (gallery.astype(dtype), gallery_labels)]:
        expected = naive.retrieval(embeddings, labels, *rest, map_at=DEPTHS)
        measured = retrieval_metrics(embeddings, labels, *rest, metrics=NAMES)
        assert measured == pytest.approx(expected, abs=1e-12)
        # The first rank alone is found in another way.
        alone = retrieval_metrics(embeddings, labels, *rest, metrics=("mrr",))
        assert alone["mrr"] == pytest.approx(expected["mrr"], abs=1e-12)


@pytest.mark.usefixtures("way")
def test_of_equal_distances_the_first_in_the_gallery_comes_first(generator):
    # On a grid of small integers all distances are exact, and many are equal.
    for _ in range(10):
        n = generator.integers(20, 200)
        embeddings = generator.integers(-1, 2, (n, 3)).astype("float32")
        labels = generator.integers(0, 5, n)
        expected = naive.retrieval(embeddings, labels, map_at=DEPTHS)
        measured = retrieval_metrics(embeddings, labels, metrics=NAMES)
        assert measured == pytest.approx(expected, abs=1e-12)
        alone = retrieval_metrics(embeddings, labels, metrics=("mrr",))
        assert alone["mrr"] == pytest.approx(expected["mrr"], abs=1e-12)


@pytest.mark.usefixtures("way")
def test_queries_that_are_part_of_a_larger_gallery_do_not_find_themselves(generator):
    gallery = generator.integers(-1, 2, (150, 3)).astype("float32")
    gallery_labels = generator.integers(0, 9, 150)
    indices = generator.integers(0, 150, 90)
    indices[::3] = -1
    queries, labels = gallery[indices], gallery_labels[indices]
    expected = naive.retrieval(
        queries, labels, gallery, gallery_labels, own_rows=indices, map_at=DEPTHS
    )
    measured = retrieval_metrics(
        queries, labels, gallery, gallery_labels, gallery_indices=indices, metrics=NAMES
    )
    assert measured == pytest.approx(expected, abs=1e-12)


def test_classes_of_all_sizes_are_ranked_both_ways_at_once(generator, monkeypatch):
    monkeypatch.setattr(query_ranking, "_MAX_COUNTED", 10)
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 2**14)
    labels = np.repeat(np.arange(8), [1, 2, 3, 9, 12, 30, 60, 83])
    embeddings = generator.standard_normal((200, 4)) + generator.standard_normal((8, 4))[labels]
    assert retrieval_metrics(embeddings, labels, metrics=NAMES) == pytest.approx(
        naive.retrieval(embeddings, labels, map_at=DEPTHS), abs=1e-12
    )


@pytest.mark.usefixtures("way")
def test_average_precision_is_that_of_scikit_learn(generator):
    embeddings, labels = random_case(generator, n=80, classes=6)
    found = metrics_by_query(embeddings, labels, metrics=("map",))["map"]
    for query in range(80):
        others = np.delete(np.arange(80), query)
        distances = np.linalg.norm(embeddings[others] - embeddings[query], axis=1)
        expected = sklearn.metrics.average_precision_score(
            labels[others] == labels[query], -distances
        )
        assert found[query] == pytest.approx(expected, abs=1e-12)


def test_metrics_are_those_of_pytorch_metric_learning(generator):
    torch = pytest.importorskip("torch")
    calculators = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")

    def search(query, k, reference, embeddings_come_from_same_source):
        # Its default needs faiss.
        distances = torch.cdist(query.double(), reference.double())
        if embeddings_come_from_same_source:
            distances.fill_diagonal_(torch.inf)
        found = distances.topk(min(k, len(reference) - 1), largest=False)
        return found.values, found.indices

    embeddings, labels = random_case(generator, n=300, classes=12)
    calculator = calculators.AccuracyCalculator(
        include=(
            "mean_average_precision",
            "mean_average_precision_at_r",
            "mean_reciprocal_rank",
            "precision_at_1",
            "r_precision",
        ),
        k=300,
        knn_func=search,
    )
    theirs = calculator.get_accuracy(torch.tensor(embeddings), torch.tensor(labels))
    ours = retrieval_metrics(embeddings, labels, metrics=("map", "mrr"))
    for name, other in {
        "map": "mean_average_precision",
        "mrr": "mean_reciprocal_rank",
        "map_at_r": "mean_average_precision_at_r",
        "precision_at_1": "precision_at_1",
        "r_precision": "r_precision",
    }.items():
        assert ours[name] == pytest.approx(theirs[other], abs=1e-6)


def test_values_of_queries_and_their_means(generator):
    embeddings, labels = random_case(generator, n=60, classes=8)
    gallery = random_case(generator, n=50, classes=7)
    names = ("map_at_r", "r_precision", "recall_at_3", *NAMES)
    values = metrics_by_query(embeddings, labels, *gallery, metrics=names)
    assert list(values) == list(names)
    has_nothing = ~np.isin(labels, gallery[1])
    assert has_nothing.any()
    means = retrieval_metrics(embeddings, labels, *gallery, recall_at=(3,), metrics=NAMES)
    for name in names:
        np.testing.assert_array_equal(np.isnan(values[name]), has_nothing)
        assert np.nanmean(values[name]) == pytest.approx(means[name], abs=1e-12)
    np.testing.assert_array_equal(
        values["map_at_r"], retrieval_by_query(embeddings, labels, *gallery).average_precision
    )


def test_one_class_finds_everything():
    embeddings = np.random.default_rng(0).standard_normal((7, 3))
    measured = retrieval_metrics(embeddings, np.zeros(7), metrics=NAMES)
    assert set(measured.values()) == {1.0}


def test_equal_vectors_are_ranked_as_they_come():
    # Queries 0 and 1 find each other first; 2 and 3 find both samples of the other class first.
    labels = np.array([0, 0, 1, 1])
    values = metrics_by_query(np.zeros((4, 2)), labels, metrics=("map", "mrr", "map_at_2"))
    np.testing.assert_allclose(values["map"], [1, 1, 1 / 3, 1 / 3])
    np.testing.assert_allclose(values["mrr"], [1, 1, 1 / 3, 1 / 3])
    np.testing.assert_allclose(values["map_at_2"], [1, 1, 0, 0])


def test_labels_may_be_a_column(generator):
    embeddings, labels = random_case(generator, n=40, classes=4)
    gallery, gallery_labels = random_case(generator, n=30, classes=4)
    assert retrieval_metrics(
        embeddings, labels[:, None], gallery, gallery_labels[:, None]
    ) == retrieval_metrics(embeddings, labels, gallery, gallery_labels)


@pytest.mark.parametrize("name", ["maps", "map_at_0", "map_at_r_1", "mrr_at_5", "recall_at_-1", ""])
def test_unknown_metrics_are_named(name):
    with pytest.raises(ValueError, match=rf"must be among .*map_at_<k>; got {name}$"):
        metrics_by_query(np.zeros((4, 2)), np.array([0, 0, 1, 1]), metrics=("map", name))
