import numpy as np
import pytest
import sklearn.neighbors

from ccp_dml.evaluation import nearest_neighbors, neighbors


def test_neighbours_are_those_of_scikit_learn(generator):
    gallery = generator.standard_normal((5000, 16)).astype("float32")
    queries = generator.standard_normal((50, 16)).astype("float32")
    distances, found = nearest_neighbors(queries, gallery, 10)
    search = sklearn.neighbors.NearestNeighbors(n_neighbors=10, algorithm="brute").fit(gallery)
    expected_distances, expected = search.kneighbors(queries)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)
    assert distances.dtype == "float32"


@pytest.mark.parametrize("k", [1, 7, 299])
def test_rows_that_queries_are_are_not_found(k, generator, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 2**14)
    gallery = generator.standard_normal((300, 5))
    queries, own = gallery[40:80].copy(), np.arange(40, 80)
    queries[::2] += 1
    own[::2] = -1
    distances, found = nearest_neighbors(queries, gallery, k, own)
    for query, row, query_distances, query_found in zip(
        queries, own, distances, found, strict=True
    ):
        expected = np.linalg.norm(gallery - query, axis=1)
        if row >= 0:
            expected[row] = np.inf
        order = np.argsort(expected, kind="stable")[:k]
        np.testing.assert_array_equal(query_found, order)
        np.testing.assert_allclose(query_distances, expected[order])


def test_equal_vectors_are_at_distance_zero_and_the_first_row_comes_first(generator):
    # Neither norms nor products of these are exact in float32.
    distinct = generator.standard_normal((70, 24)).astype("float32")
    copies = generator.integers(0, 70, 1000)
    distances, found = nearest_neighbors(distinct, distinct[copies], 30)
    for number in range(70):
        equal = np.flatnonzero(copies == number)[:30]
        np.testing.assert_array_equal(found[number, : len(equal)], equal)
        assert not distances[number, : len(equal)].any()
    assert (np.diff(distances, axis=1) >= 0).all()


def test_all_of_a_gallery_far_from_the_origin_is_ranked_precisely(generator):
    gallery = (generator.standard_normal((200, 8)) + 1000).astype("float32")
    distances, _ = nearest_neighbors(gallery[:20], gallery, 200)
    expected = np.linalg.norm(gallery[:20, None].astype("float64") - gallery, axis=2)
    np.testing.assert_allclose(distances, np.sort(expected, axis=1), rtol=1e-5)


@pytest.mark.parametrize("size", [1e-37, 1e-30, 1e-19])
def test_distances_whose_squares_are_too_small_for_float32(size, generator):
    gallery = (size * generator.standard_normal((80, 4))).astype("float32")
    gallery[::5] /= np.float32(size)
    distances, found = nearest_neighbors(gallery[:20], gallery, 79, np.arange(20))
    expected = np.linalg.norm(gallery[:20, None].astype("float64") - gallery, axis=2)
    expected[np.arange(20), np.arange(20)] = np.inf
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :79], rtol=1e-6)
    is_tiny = np.arange(20) % 5 > 0
    order = np.argsort(expected, axis=1)
    np.testing.assert_array_equal(found[is_tiny, :60], order[is_tiny, :60])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 3)), np.zeros((4, 3)), 5), "whole number from 1 to 4; got 5"),
        ((np.zeros((2, 3)), np.zeros((4, 3)), 0), "whole number from 1 to 4; got 0"),
        ((np.zeros((2, 3)), np.zeros((4, 3)), 4, [0, 1]), "whole number from 1 to 3; got 4"),
        ((np.zeros((2, 3)), np.zeros((4, 3)), 1, [0, 4]), "from 0 to 3, or -1 .*; got 4"),
        ((np.zeros((2, 3)), np.zeros((4, 2)), 1), "of size 3 .*of size 2"),
        ((np.zeros(3), np.zeros((4, 3)), 1), r"queries must be \(n, d\); got \(3,\)"),
        ((np.zeros((2, 3)), np.zeros((0, 3)), 1), "gallery are empty"),
        ((np.zeros((1, 1)), np.array([[0], [1], [np.nan]]), 1), "must be finite .* in row 2"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(*arguments)
