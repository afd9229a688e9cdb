import numpy as np
import pytest
import sklearn.datasets

from ccp_dml.evaluation import (
    duplicate_distance,
    find_near_duplicates,
    find_suspicious_labels,
    nearest_neighbors,
)
from tests.data.pictures import near_duplicate, patterns
from tests.inference.embedders import small_embedder

KINDS = ("compressed", "resized", "cropped")


def search(embeddings, k):
    return nearest_neighbors(embeddings, embeddings, k, np.arange(len(embeddings)))


def test_pairs_are_those_of_all_distances(generator):
    embeddings = generator.standard_normal((60, 3))
    distances, neighbors = search(embeddings, 59)
    pairs = find_near_duplicates(distances, neighbors, 0.8)
    expected = sorted(
        (np.linalg.norm(embeddings[first] - embeddings[second]), first, second)
        for first in range(60)
        for second in range(first + 1, 60)
        if np.linalg.norm(embeddings[first] - embeddings[second]) <= 0.8
    )
    assert len(expected) > 20
    np.testing.assert_allclose(pairs.distances, [distance for distance, *_ in expected])
    assert list(zip(pairs.first, pairs.second, strict=True)) == [
        (first, second) for _, first, second in expected
    ]


def test_a_pair_is_found_if_only_one_of_it_is_among_the_neighbours_of_the_other():
    # The middle point is equally far from the other two, and finds the first of them.
    embeddings = np.array([[0.0], [1.0], [2.0]])
    pairs = find_near_duplicates(*search(embeddings, 1), 1)
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("k", [1, 3, 6])
def test_suspicious_labels_are_those_of_a_loop(k, generator):
    embeddings = generator.standard_normal((80, 2))
    labels = generator.integers(0, 9, 80)
    # A class of one sample.
    labels[5] = 99
    distances, neighbors = search(embeddings, k)
    found = find_suspicious_labels(distances, neighbors, labels)
    expected = []
    for row in range(80):
        near = labels[neighbors[row]].tolist()
        if labels[row] in near or np.sum(labels == labels[row]) == 1:
            continue
        votes = max(near.count(label) for label in near)
        place = next(place for place, label in enumerate(near) if near.count(label) == votes)
        expected.append((-votes, distances[row, place], row, near[place]))
    expected.sort()
    assert len(expected) > 5
    assert found.rows.tolist() == [row for *_, row, _ in expected]
    assert found.suggested.tolist() == [label for *_, label in expected]
    assert found.votes.tolist() == [-votes for votes, *_ in expected]
    np.testing.assert_allclose(found.distances, [distance for _, distance, *_ in expected])


def test_labels_may_be_text():
    neighbors = np.array([[1, 2], [0, 2], [0, 1], [1, 2], [3, 1]])
    labels = np.array(["cat", "cat", "cat", "dog", "dog"])
    found = find_suspicious_labels(np.ones((5, 2)), neighbors, labels)
    assert found.suggested.tolist() == ["cat"]


def test_nothing_suspicious():
    found = find_suspicious_labels(np.ones((2, 1)), np.array([[1], [0]]), np.array([3, 3]))
    assert [len(each) for each in found] == [0] * 4
    pairs = find_near_duplicates(np.ones((2, 1)), np.array([[1], [0]]), 0.5)
    assert [len(each) for each in pairs] == [0] * 3


def test_planted_duplicates_are_found_and_little_else():
    pictures = patterns(num_classes=20, per_class=10)
    originals = np.random.default_rng(1).choice(len(pictures), 30, replace=False)
    copies = [
        near_duplicate(pictures[row], kind) for row, kind in zip(originals, KINDS * 10, strict=True)
    ]
    embeddings = small_embedder(size=32, image_size=16).embed([*pictures, *copies])
    distances, neighbors = search(embeddings, 10)
    pairs = find_near_duplicates(distances, neighbors, duplicate_distance(distances))
    planted = {(row, len(pictures) + copy) for copy, row in enumerate(originals.tolist())}
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    precision, recall = len(found & planted) / len(found), len(found & planted) / len(planted)
    print(f"near-duplicates: precision {precision:.2f}, recall {recall:.2f}")
    assert precision >= 0.9
    assert recall >= 0.9


@pytest.mark.parametrize("k", [5, 10])
def test_planted_wrong_labels_are_found_and_little_else(k):
    digits = sklearn.datasets.load_digits()
    embeddings = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)
    generator = np.random.default_rng(2)
    wrong = generator.choice(len(embeddings), 36, replace=False)
    labels = digits.target.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, 36)) % 10
    found = find_suspicious_labels(*search(embeddings, k), labels)
    is_planted = np.isin(found.rows, wrong)
    precision, recall = is_planted.mean(), is_planted.sum() / 36
    print(f"wrong labels: precision {precision:.2f}, recall {recall:.2f}")
    assert precision >= 0.85
    assert recall >= 0.9
    suggested = found.suggested[is_planted]
    assert (suggested == digits.target[found.rows[is_planted]]).mean() > 0.95


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"must be \(n, k\).*; got \(2, 1\) and \(2, 2\)"):
        find_near_duplicates(np.ones((2, 1)), np.ones((2, 2), int), 1)
    with pytest.raises(ValueError, match="max_distance must be at least 0; got -1"):
        find_near_duplicates(np.ones((2, 1)), np.array([[1], [0]]), -1)
    with pytest.raises(ValueError, match=r"labels must be \(2,\); got \(3,\)"):
        find_suspicious_labels(np.ones((2, 1)), np.array([[1], [0]]), np.zeros(3))
