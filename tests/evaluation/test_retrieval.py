import json
import pathlib

import numpy as np
import pytest

from ccp_dml.evaluation import neighbors, retrieval_by_query, retrieval_metrics
from tests import naive

CASES = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "retrieval.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_golden(case, golden):
    arrays = golden("retrieval.npz")
    embeddings, labels = arrays[f"{case['case']}/embeddings"], arrays[f"{case['case']}/labels"]
    n = case["num_queries"]
    gallery = (embeddings[n:], labels[n:]) if n else ()
    queries = (embeddings[:n], labels[:n]) if n else (embeddings, labels)
    metrics = retrieval_metrics(*queries, *gallery)
    for name in ("precision_at_1", "r_precision", "map_at_r"):
        assert metrics[name] == pytest.approx(case[name], abs=1e-5)


def random_case(generator, n, classes, d=6):
    labels = generator.integers(0, classes, n)
    return generator.standard_normal((n, d)) + generator.standard_normal((classes, d))[
        labels
    ], labels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 3, 40])
def test_equals_the_naive_metrics(classes, dtype, generator):
    embeddings, labels = random_case(generator, n=120, classes=classes)
    embeddings = embeddings.astype(dtype)
    metrics = retrieval_metrics(embeddings, labels, recall_at=(1, 3, 10))
    expected = naive.retrieval(embeddings, labels, recall_at=(1, 3, 10))
    assert metrics == pytest.approx(expected, abs=1e-12)
    gallery, gallery_labels = random_case(generator, n=90, classes=classes + 2)
    assert retrieval_metrics(
        embeddings, labels, gallery.astype(dtype), gallery_labels
    ) == pytest.approx(
        naive.retrieval(embeddings, labels, gallery.astype(dtype), gallery_labels), abs=1e-12
    )


@pytest.mark.parametrize("block_bytes", [1, 2**16, 2**28])
@pytest.mark.parametrize("group", [4, 64])
def test_blocks_and_groups_change_nothing(block_bytes, group, generator, monkeypatch):
    embeddings, labels = random_case(generator, n=300, classes=60)
    expected = naive.retrieval(embeddings, labels)
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(neighbors, "_GROUP", group)
    # A traced function would keep the old size of a group.
    monkeypatch.setattr(
        neighbors, "_find_largest_scores", neighbors._find_largest_scores.python_function
    )
    assert retrieval_metrics(embeddings, labels) == pytest.approx(expected, abs=1e-12)


def test_a_sample_does_not_find_itself_even_among_equals():
    embeddings = np.zeros((6, 3))
    metrics = retrieval_metrics(embeddings, np.array([0, 0, 0, 0, 0, 0]))
    assert metrics["map_at_r"] == 1.0
    # All six points are equal: the neighbours of each are the five others.
    found = neighbors.NeighborSearch(embeddings).nearest(embeddings, 5, own=np.arange(6))
    for own, neighbours in enumerate(found):
        assert set(neighbours) == set(range(6)) - {own}


def test_queries_without_a_match_are_left_out(generator):
    embeddings, labels = random_case(generator, n=50, classes=5)
    with_loners = np.concatenate([labels, [100, 101]])
    more = np.concatenate([embeddings, np.full((2, 6), 1e3)])
    assert retrieval_metrics(more, with_loners) == pytest.approx(
        retrieval_metrics(embeddings, labels)
    )


def test_distances_far_from_the_origin_are_precise(generator):
    embeddings, labels = random_case(generator, n=200, classes=8)
    shifted = (embeddings + 1000).astype("float32")
    assert retrieval_metrics(shifted, labels) == pytest.approx(
        naive.retrieval(shifted, labels), abs=1e-9
    )


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", size) for size in (1e-42, 1e-30, 1e-19, 1e14)]
    + [("float64", size) for size in (1e-240, 1e-160, 1e14)],
)
def test_vectors_of_any_size_are_ranked_exactly(dtype, size, generator):
    embeddings, labels = random_case(generator, n=60, classes=5)
    scaled = (size * embeddings).astype(dtype)
    found = retrieval_by_query(scaled, labels, k=59)
    np.testing.assert_array_equal(found.nearest, naive.rank_exactly(scaled))
    if size > 1e-40:
        # Vectors that are not subnormal keep their digits, and with them their metrics.
        expected = naive.retrieval(embeddings, labels)
        assert retrieval_metrics(scaled, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiny_vectors_among_others_are_ranked_exactly(dtype, offset, generator):
    embeddings, labels = random_case(generator, n=90, classes=4)
    sizes = 10.0 ** generator.choice([-38, -30, -19, -3, 0], 90)
    embeddings *= sizes[:, None]
    embeddings[:3] = 0
    embeddings[::2] += offset
    embeddings = embeddings.astype(dtype)
    found = retrieval_by_query(embeddings, labels, k=89)
    np.testing.assert_array_equal(found.nearest, naive.rank_exactly(embeddings))


def test_order_of_samples_does_not_matter(generator):
    embeddings, labels = random_case(generator, n=200, classes=8)
    order = generator.permutation(200)
    assert retrieval_metrics(embeddings[order], labels[order]) == pytest.approx(
        retrieval_metrics(embeddings, labels), abs=1e-12
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 2)), np.zeros(2)), r"got \(3, 2\) and \(2,\)"),
        ((np.zeros((3, 2)), np.arange(3)), "no query has a sample of its class"),
        ((np.zeros((1, 2)), np.zeros(1)), "no query has a sample of its class"),
        ((np.full((3, 2), np.nan), np.zeros(3)), "must be finite"),
        ((np.full((3, 2), 1e25), np.zeros(3)), r"below 1e\+15; the largest is 1e\+25"),
        (
            (np.array([[1.0], [0], [1e-260]]), np.zeros(3)),
            "at least 1e-250 in magnitude; .* row 2 is 1e-260",
        ),
        ((np.zeros((3, 2)), np.zeros(3), np.zeros((0, 2)), np.zeros(0)), "are empty"),
        ((np.zeros((3, 2)), np.zeros(3), None, None, (1.5,)), r"at least 1; got \(1.5,\)"),
        ((np.zeros((3, 2)), np.zeros(3), np.zeros((3, 2))), "given together"),
        ((np.zeros((3, 2)), np.zeros(3), np.zeros((3, 4)), np.zeros(3)), "of size 2 .*of size 4"),
        ((np.zeros((3, 2)), np.zeros(3), None, None, (0,)), r"at least 1; got \(0,\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(*arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_equal_distances_the_first_in_the_gallery_comes_first(dtype, generator):
    # On a grid of small integers all distances are exact, and many are equal.
    for _ in range(20):
        n = generator.integers(20, 400)
        embeddings = generator.integers(-2, 3, (n, 3)).astype(dtype)
        labels = generator.integers(0, 5, n)
        assert retrieval_metrics(embeddings, labels) == pytest.approx(
            naive.retrieval(embeddings, labels), abs=1e-12
        )


def test_queries_and_gallery_of_different_precision(generator):
    queries, gallery = generator.standard_normal((2, 30, 4))
    labels = np.arange(30) % 3
    expected = naive.retrieval(queries, labels, gallery.astype("float32"), labels)
    for pair in [(queries, gallery.astype("float32")), (queries.astype("float32"), gallery)]:
        assert retrieval_metrics(pair[0], labels, pair[1], labels) == pytest.approx(
            expected, abs=0.05
        )


def test_a_class_of_thousands_is_taken_in_small_blocks(generator, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 2**20)
    embeddings, labels = random_case(generator, n=700, classes=2)
    assert retrieval_metrics(embeddings, labels) == pytest.approx(
        naive.retrieval(embeddings, labels), abs=1e-12
    )


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_queries_that_are_part_of_a_larger_gallery_do_not_find_themselves(classes, generator):
    gallery, gallery_labels = random_case(generator, n=150, classes=classes)
    # Every third query is of another set, and some rows are queries twice.
    indices = generator.integers(0, 150, 90)
    indices[::3] = -1
    queries, labels = gallery[indices], gallery_labels[indices]
    queries[::3], labels[::3] = generator.standard_normal((30, 6)), np.arange(30) % classes
    metrics = retrieval_metrics(
        queries, labels, gallery, gallery_labels, (1, 3, 149), gallery_indices=indices
    )
    expected = naive.retrieval(queries, labels, gallery, gallery_labels, (1, 3, 149), indices)
    assert metrics == pytest.approx(expected, abs=1e-12)


def test_a_gallery_of_the_queries_is_a_search_among_the_others(generator):
    embeddings, labels = random_case(generator, n=120, classes=9)
    assert retrieval_metrics(
        embeddings, labels, embeddings, labels, gallery_indices=np.arange(120)
    ) == retrieval_metrics(embeddings, labels)
    assert retrieval_metrics(
        embeddings, labels, embeddings, labels, gallery_indices=np.full(120, -1)
    ) == retrieval_metrics(embeddings, labels, embeddings, labels)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 1], r"for each of 3 queries; got int64 \(2,\)"),
        ([0.0, 1.0, 2.0], "must be an integer .*; got float64"),
        ([0, 1, 3], "from 0 to 2, or -1 .*; got 3"),
        ([-2, 1, 2], "from 0 to 2, or -1 .*; got -2"),
        ([0, 1, 0], "query 2 of class 1 cannot be row 0 of the gallery, which is of class 0"),
    ],
)
def test_wrong_rows_of_the_gallery_are_named(indices, message):
    embeddings, labels = np.zeros((3, 2)), np.array([0, 0, 1])
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(embeddings, labels, embeddings, labels, gallery_indices=indices)


def test_rows_of_no_gallery_are_refused():
    with pytest.raises(ValueError, match="together with gallery_embeddings"):
        retrieval_metrics(np.zeros((3, 2)), np.zeros(3), gallery_indices=[0, 1, 2])


@pytest.mark.parametrize("has_gallery", [False, True])
def test_each_query_by_itself(has_gallery, generator):
    embeddings, labels = random_case(generator, n=60, classes=8)
    gallery = random_case(generator, n=50, classes=7) if has_gallery else ()
    found = retrieval_by_query(embeddings, labels, *gallery, k=5)
    assert np.isnan(found.average_precision).any() == has_gallery
    mean = np.nanmean(found.average_precision)
    expected = retrieval_metrics(embeddings, labels, *gallery)["map_at_r"]
    assert mean == pytest.approx(expected, abs=1e-12)
    references, reference_labels = gallery or (embeddings, labels)
    for query, nearest in enumerate(found.nearest):
        others = np.arange(len(references))
        if not has_gallery:
            others = np.delete(others, query)
        if labels[query] not in reference_labels[others]:
            assert (nearest == -1).all()
            continue
        distances = np.linalg.norm(references[others] - embeddings[query], axis=1)
        np.testing.assert_array_equal(nearest, others[np.argsort(distances)[:5]])
        # The metric of the query on its own is its average precision.
        alone = retrieval_metrics(
            embeddings[[query]], labels[[query]], references[others], reference_labels[others]
        )
        assert found.average_precision[query] == pytest.approx(alone["map_at_r"], abs=1e-12)


def test_fewer_neighbours_than_asked_for():
    found = retrieval_by_query(np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1]), k=4)
    assert found.nearest.tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [-1, -1, -1, -1]]
    np.testing.assert_array_equal(found.average_precision, [1, 1, np.nan])
