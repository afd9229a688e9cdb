import numpy as np
import pytest
import sklearn.metrics

from ccp_dml.evaluation import verification, verification_metrics
from ccp_dml.inference import threshold_at_false_accept_rate


def make_samples(generator, n=400, classes=20):
    labels = generator.integers(0, classes, n)
    embeddings = generator.standard_normal((classes, 8))[labels]
    return (embeddings + generator.standard_normal((n, 8))).astype("float32"), labels


def expected_metrics(distances, same, rates):
    """ROC-AUC and, for each rate, TAR@FAR by scikit-learn."""
    false_accepts, true_accepts, _ = sklearn.metrics.roc_curve(
        same, -distances, drop_intermediate=False
    )
    return {"roc_auc": sklearn.metrics.roc_auc_score(same, -distances)} | {
        f"tar_at_far_{rate}": true_accepts[false_accepts <= rate].max() for rate in rates
    }


RATES = ("0.001", "0.01", "0.3")
NAMES = ("roc_auc", *(f"tar_at_far_{rate}" for rate in RATES))


def by_number(expected):
    return dict(zip(NAMES, expected.values(), strict=True))


@pytest.mark.parametrize("tile", [57, 1024])
def test_metrics_are_those_of_scikit_learn(tile, generator, monkeypatch):
    monkeypatch.setattr(verification, "TILE", tile)
    embeddings, labels = make_samples(generator)
    first, second = np.triu_indices(len(labels), 1)
    distances = np.linalg.norm(embeddings[first].astype("float64") - embeddings[second], axis=1)
    expected = by_number(
        expected_metrics(distances, labels[first] == labels[second], map(float, RATES))
    )
    measured = verification_metrics(embeddings, labels[:, None], metrics=NAMES)
    assert list(measured) == list(NAMES)
    assert measured["roc_auc"] == pytest.approx(expected["roc_auc"], abs=1e-6)
    for name in NAMES[1:]:
        # One of 4,000 pairs of the same class may share a bin with one of different classes.
        assert measured[name] == pytest.approx(expected[name], abs=5e-4)


@pytest.mark.parametrize("tile", [57, 1024])
def test_queries_and_a_gallery(tile, generator, monkeypatch):
    monkeypatch.setattr(verification, "TILE", tile)
    gallery, gallery_labels = make_samples(generator)
    indices = generator.integers(-1, 400, 60)
    queries, labels = gallery[indices] + (indices == -1)[:, None], gallery_labels[indices]
    distances = np.linalg.norm(queries[:, None].astype("float64") - gallery, axis=2)
    same = labels[:, None] == gallery_labels
    is_pair = np.arange(400) != indices[:, None]
    expected = by_number(expected_metrics(distances[is_pair], same[is_pair], map(float, RATES)))
    measured = verification_metrics(
        queries, labels, gallery, gallery_labels, NAMES, gallery_indices=indices
    )
    assert measured == pytest.approx(expected, abs=1e-3)
    among_all = by_number(expected_metrics(distances.ravel(), same.ravel(), map(float, RATES)))
    measured = verification_metrics(queries, labels, gallery, gallery_labels, NAMES)
    assert measured == pytest.approx(among_all, abs=1e-3)


def test_equal_distances_count_one_half(generator):
    # On a grid of small integers many distances are equal.
    embeddings, labels = generator.integers(0, 3, (200, 3)), np.arange(200) % 5
    first, second = np.triu_indices(200, 1)
    distances = np.linalg.norm(embeddings[first] - embeddings[second], axis=1)
    expected = by_number(
        expected_metrics(distances, labels[first] == labels[second], map(float, RATES))
    )
    measured = verification_metrics(embeddings, labels, metrics=NAMES)
    assert measured == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("offset", [0, 1000])
def test_equal_vectors_tell_nothing(offset):
    embeddings, labels = np.full((6, 3), offset), np.array([0, 0, 0, 1, 1, 1])
    measured = verification_metrics(embeddings, labels, metrics=("roc_auc", "tar_at_far_0.5"))
    assert measured == {"roc_auc": 0.5, "tar_at_far_0.5": 0.0}


def test_the_true_accept_rate_is_that_of_the_threshold(generator):
    embeddings, labels = make_samples(generator)
    for rate in (0.002, 0.05):
        found = threshold_at_false_accept_rate(embeddings, labels, rate)
        name = f"tar_at_far_{rate}"
        measured = verification_metrics(embeddings, labels, metrics=(name,))
        assert measured[name] == pytest.approx(found.true_accept_rate, abs=5e-4)


@pytest.mark.parametrize("has_gallery", [False, True])
def test_a_choice_among_the_pairs_measures_about_the_same(has_gallery, generator):
    embeddings, labels = make_samples(generator, n=2000, classes=50)
    rest = make_samples(generator, n=2000, classes=50) if has_gallery else (None, None)
    if has_gallery:
        rest = embeddings[::-1], labels[::-1]
    exact = verification_metrics(embeddings, labels, *rest)
    chosen, again, other = (
        verification_metrics(embeddings, labels, *rest, max_pairs=400_000, seed=seed)
        for seed in (0, 0, 1)
    )
    assert chosen == again != other
    assert chosen["roc_auc"] == pytest.approx(exact["roc_auc"], abs=0.02)
    assert chosen != exact


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(3), np.arange(2)), r"labels must be \(3,\); got \(2,\)"),
        ((np.eye(3), np.arange(3)), "no two samples are of the same class"),
        ((np.eye(3), np.zeros(3)), "no two samples are of different classes"),
        ((np.eye(1), np.zeros(1)), "no two samples are of the same class"),
        ((np.eye(4), [0, 0, 1, 1], np.eye(4)), "must be given together"),
        ((np.eye(4), [0, 0, 1, 1], np.eye(3), np.zeros(3)), "size 4 .* size 3"),
        ((np.eye(4), [0, 0, 1, 1], None, None, ("auc",)), r"among roc_auc, .*; got 'auc'"),
        ((np.eye(4), [0, 0, 1, 1], None, None, ("tar_at_far_2",)), "between 0 and 1; got 2.0"),
        ((np.eye(4), [0, 0, 1, 1], None, None, ("tar_at_far_.1",)), "at least 0.25"),
        ((np.full((4, 2), np.nan), [0, 0, 1, 1]), "embeddings must be finite"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        verification_metrics(*arguments)
