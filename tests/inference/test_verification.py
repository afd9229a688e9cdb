import numpy as np
import pytest
import sklearn.metrics

from ccp_dml.evaluation import verification
from ccp_dml.inference import threshold_at_false_accept_rate


def pairs(embeddings, labels):
    """Distances of all pairs, and whether they are of the same class."""
    first, second = np.triu_indices(len(labels), 1)
    distances = np.linalg.norm(embeddings[first].astype("float64") - embeddings[second], axis=1)
    return distances, labels[first] == labels[second]


@pytest.fixture
def samples(generator):
    labels = generator.integers(0, 20, 400)
    centers = generator.standard_normal((20, 8))
    return (centers[labels] + generator.standard_normal((400, 8))).astype("float32"), labels


@pytest.mark.parametrize("tile", [57, 1024])
@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.5, 0.99])
def test_rates_are_those_of_scikit_learn(rate, tile, samples, monkeypatch):
    monkeypatch.setattr(verification, "TILE", tile)
    found = threshold_at_false_accept_rate(*samples, rate)
    distances, same = pairs(*samples)
    false_accepts, true_accepts, _ = sklearn.metrics.roc_curve(
        same, -distances, drop_intermediate=False
    )
    best = np.flatnonzero(false_accepts <= rate)[-1]
    assert found.false_accept_rate == pytest.approx(false_accepts[best], abs=1e-12)
    assert found.true_accept_rate == pytest.approx(true_accepts[best], abs=1e-12)
    accepted = distances <= found.distance
    assert accepted[~same].mean() == pytest.approx(found.false_accept_rate)
    assert accepted[same].mean() == pytest.approx(found.true_accept_rate)
    assert (found.positive_pairs, found.negative_pairs) == (same.sum(), (~same).sum())


def test_pairs_at_equal_distances_are_refused_together(generator):
    # On a grid of small integers many distances are equal.
    embeddings, labels = generator.integers(0, 3, (200, 3)), np.arange(200) % 5
    distances, same = pairs(embeddings, labels)
    for rate in (0.05, 0.2, 0.7):
        found = threshold_at_false_accept_rate(embeddings, labels, rate)
        choices = np.unique(distances)
        rates = np.array([(distances[~same] <= choice).mean() for choice in choices])
        best = choices[rates <= rate].max()
        following = choices[choices > best].min()
        assert found.distance == pytest.approx((best + following) / 2)
        assert found.false_accept_rate == pytest.approx(rates[rates <= rate].max())


def test_a_choice_among_the_pairs_measures_about_the_same(generator):
    labels = np.arange(3000) % 100
    embeddings = generator.standard_normal((100, 8))[labels] + generator.standard_normal((3000, 8))
    exact = threshold_at_false_accept_rate(embeddings, labels, 0.01)
    chosen, again, other = (
        threshold_at_false_accept_rate(embeddings, labels, 0.01, max_pairs=600_000, seed=seed)
        for seed in (0, 0, 1)
    )
    assert chosen == again != other
    assert 550_000 < chosen.positive_pairs + chosen.negative_pairs <= 600_000
    assert exact.positive_pairs + exact.negative_pairs == 3000 * 2999 // 2
    assert chosen.distance == pytest.approx(exact.distance, rel=0.02)
    assert chosen.true_accept_rate == pytest.approx(exact.true_accept_rate, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 2)), np.zeros(2), 0.1), r"labels must be \(3,\); got \(2,\)"),
        ((np.zeros((3, 2)), np.zeros(3), 0.0), "rate must be between 0 and 1; got 0.0"),
        ((np.zeros((3, 2)), np.arange(3), 0.1), "no two samples are of the same class"),
        ((np.eye(4), [0, 0, 1, 1], 0.1), "with 4 pairs of different classes; .* least 0.25"),
        ((np.eye(4), [0, 0, 0, 0], 0.1), "with 0 pairs of different classes"),
        ((np.zeros((4, 2)), [0, 0, 1, 1], 0.5), "no threshold .* of 0.5: .* at distance 0"),
        ((np.full((4, 2), np.nan), [0, 0, 1, 1], 0.5), "embeddings must be finite"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        threshold_at_false_accept_rate(*arguments)
