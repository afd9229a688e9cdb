import itertools

import numpy as np
import pytest
import sklearn.metrics
from sklearn.cluster import KMeans

from ccp_dml.evaluation import clustering_metrics


def naive_metrics(labels, clusters):
    """NMI and pairwise F1 from their definitions."""
    true = predicted = both = 0
    for one, other in itertools.combinations(range(len(labels)), 2):
        same_class, same_cluster = labels[one] == labels[other], clusters[one] == clusters[other]
        true += same_class
        predicted += same_cluster
        both += same_class and same_cluster
    precision, recall = both / max(predicted, 1), both / max(true, 1)
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0

    def entropy(values):
        parts = np.unique(values, return_counts=True)[1] / len(values)
        return -np.sum(parts * np.log(parts))

    joint = entropy([f"{label},{cluster}" for label, cluster in zip(labels, clusters, strict=True)])
    information = entropy(labels) + entropy(clusters) - joint
    return information / max((entropy(labels) + entropy(clusters)) / 2, 1e-12), f1


def test_agrees_with_the_definitions(generator):
    labels = generator.integers(0, 5, 60)
    embeddings = generator.standard_normal((60, 3)) + 0.8 * np.eye(5, 3)[labels]
    clusters = KMeans(len(np.unique(labels)), n_init=1, random_state=3).fit(embeddings).labels_
    nmi, f1 = naive_metrics(labels, clusters)
    measured = clustering_metrics(embeddings, labels, seed=3)
    assert measured["nmi"] == pytest.approx(nmi)
    assert measured["pairwise_f1"] == pytest.approx(f1)
    ami = sklearn.metrics.adjusted_mutual_info_score(labels, clusters)
    assert measured["ami"] == pytest.approx(ami)
    assert ami < nmi
    assert 0.1 < nmi < 0.9


def test_random_clusters_have_no_adjusted_information(generator):
    # 40 clusters of random samples share much of their entropy with 40 classes by chance alone.
    measured = clustering_metrics(generator.standard_normal((200, 2)), np.arange(200) % 40)
    assert measured["nmi"] > 0.5
    assert abs(measured["ami"]) < 0.05


def test_labels_may_be_a_column(generator):
    embeddings, labels = generator.standard_normal((30, 2)), np.arange(30) % 3
    assert clustering_metrics(embeddings, labels[:, None]) == clustering_metrics(embeddings, labels)


def test_names_of_classes_do_not_matter(generator):
    labels = np.repeat([0, 1, 2], 10)
    embeddings = generator.standard_normal((30, 2))
    renamed = np.array([7, -1, 100])[labels]
    assert clustering_metrics(embeddings, labels) == clustering_metrics(embeddings, renamed)


def test_no_pair_in_common():
    # Four classes of one sample: no pair is of one class.
    assert clustering_metrics(np.arange(4.0)[:, None], np.arange(4))["pairwise_f1"] == 0


def test_one_class(generator):
    measured = clustering_metrics(generator.standard_normal((5, 2)), np.zeros(5))
    assert measured == {"nmi": 1.0, "ami": 1.0, "pairwise_f1": 1.0}


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros(4), r"got \(3, 2\) and \(4,\)"),
        (np.zeros((0, 2)), np.zeros(0), "at least one sample"),
        (np.full((2, 2), np.nan), np.zeros(2), "must be finite"),
    ],
)
def test_wrong_input_is_named(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        clustering_metrics(embeddings, labels)
