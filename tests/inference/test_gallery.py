import builtins
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import sklearn.neighbors

from ccp_dml.inference import Gallery, gallery


@pytest.fixture
def embeddings(generator):
    return generator.standard_normal((500, 12)).astype("float32")


@pytest.fixture
def clustered(generator):
    """As many embeddings as an `ivf_pq` index needs, in an 8-dimensional subspace of 32."""
    low = generator.standard_normal((10_000, 8)) @ generator.standard_normal((8, 32))
    return low.astype("float32")


@pytest.mark.parametrize("ids", [np.arange(500)[::-1] * 10, [f"{n}.jpg" for n in range(500)]])
def test_neighbours_are_those_of_scikit_learn(ids, embeddings, generator):
    queries = generator.standard_normal((30, 12))
    distances, found = Gallery.build(embeddings, ids).search(queries, 7)
    search = sklearn.neighbors.NearestNeighbors(n_neighbors=7, algorithm="brute").fit(embeddings)
    expected_distances, expected = search.kneighbors(queries)
    assert found.tolist() == np.asarray(ids)[expected].tolist()
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)
    assert distances.dtype == "float32"


def test_excluded_ids_are_not_found_and_others_exclude_nothing(embeddings):
    ids = [f"{n}.jpg" for n in range(500)]
    searched = Gallery.build(embeddings, ids)
    exclude_ids = ["0.jpg", "elsewhere.jpg", "7.jpg"]
    _, found = searched.search(embeddings[:3], 499, exclude_ids)
    _, everything = searched.search(embeddings[:3], 500)
    for excluded, query_found, query_everything in zip(
        exclude_ids, found.tolist(), everything.tolist(), strict=True
    ):
        assert query_found == [each for each in query_everything if each != excluded][:499]


def test_equal_embeddings_are_found_in_the_order_of_the_gallery():
    searched = Gallery.build(np.ones((100, 3)), np.arange(100)[::-1])
    distances, found = searched.search(np.ones((2, 3)), 5)
    assert found.tolist() == [[99, 98, 97, 96, 95]] * 2
    assert not distances.any()


@pytest.mark.parametrize(
    "labels",
    [
        None,
        ["a", None] * 250,
        [None] * 500,
        np.arange(500),
        [3, None] * 250,
        [np.int8(3), None] * 250,
    ],
)
@pytest.mark.parametrize("ids", [np.arange(500) + 2**40, [f"ö {n}" for n in range(500)]])
def test_a_saved_gallery_is_the_same(ids, labels, embeddings, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "ROWS_AT_A_TIME", 64)
    built = Gallery.build(embeddings, ids, labels=labels)
    built.save(tmp_path / "gallery.parquet")
    loaded = Gallery.load(tmp_path / "gallery.parquet")
    np.testing.assert_array_equal(loaded.embeddings, embeddings)
    assert loaded.ids.tolist() == list(ids)
    assert loaded.ids.dtype == built.ids.dtype
    assert labels is None or loaded.labels.tolist() == list(labels)
    assert (loaded.labels is None) == (labels is None)
    found, expected = loaded.search(embeddings[:9], 4), built.search(embeddings[:9], 4)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_tables_of_others_are_read(embeddings, tmp_path):
    # Lists of variable size, float64, in one row group, with another column in between.
    table = {"embedding": embeddings.astype("float64").tolist(), "x": [0] * 500, "id": range(500)}
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "gallery.parquet")
    loaded = Gallery.load(tmp_path / "gallery.parquet")
    np.testing.assert_array_equal(loaded.embeddings, embeddings)
    assert loaded.ids.tolist() == list(range(500))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"id": [1], "vector": [[1.0]]},
            "there is no column 'embedding'; the columns are id, vector",
        ),
        ({"id": [1, 2], "embedding": [[1.0], [1.0, 2.0]]}, "of the same size"),
        ({"id": [1, 2], "embedding": [[1.0], None]}, "must have no missing values"),
        ({"id": [1], "embedding": [1.0]}, "must hold lists of numbers; it is double"),
        ({"id": [1], "embedding": [["a"]]}, "cannot be read"),
        ({"id": [1, 1], "embedding": [[1.0], [2.0]]}, "these are repeated: 1"),
        ({"id": [1, None], "embedding": [[1.0], [2.0]]}, "ids must all be strings or all integers"),
        ({"id": [1], "embedding": [[np.nan]]}, "gallery.parquet: embeddings must be finite"),
        ({"id": pa.array([], "int64"), "embedding": pa.array([], pa.list_(pa.float32()))}, "empty"),
    ],
)
def test_wrong_tables_are_named(table, message, tmp_path):
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "gallery.parquet")
    with pytest.raises(ValueError, match=message) as error:
        Gallery.load(tmp_path / "gallery.parquet")
    assert str(tmp_path) in str(error.value)


def test_what_is_no_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none\.parquet"):
        Gallery.load(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("id,embedding")
    with pytest.raises(ValueError, match=r"text\.parquet cannot be read as a Parquet file"):
        Gallery.load(tmp_path / "text.parquet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 2)), [1, 2]), r"one entry for each of 3 embeddings; got \(2,\)"),
        ((np.zeros((3, 2)), ["a", "b", "a"]), "must be unique; these are repeated: a"),
        ((np.zeros((3, 2)), [0.0, 1.0, 2.0]), "must all be strings or all integers; got float64"),
        ((np.zeros((3, 2)), [True, False, True]), "must all be strings or all integers; got bool"),
        ((np.zeros((3, 2)), ["a", 1, "b"]), "must all be strings or all integers; got int, str"),
        (
            (np.zeros((3, 2)), ["a", None, "b"]),
            "must all be strings or all integers; got NoneType, str",
        ),
        ((np.array([[1.0], [np.inf]]), [0, 1]), "must be finite .* the largest is inf.* in row 1"),
        ((np.zeros(3), [0, 1, 2]), r"embeddings must be \(n, d\); got \(3,\)"),
        ((np.zeros((0, 2)), []), "are empty"),
        ((np.zeros((3, 2)), [0, 1, 2], "flat"), "one of exact, hnsw, ivf_pq; got 'flat'"),
        ((np.zeros((3, 2)), [0, 1, 2], "exact", [1, "a", None]), "or None where unknown; got int"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Gallery.build(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((1, 12)), 501), "k must be a whole number from 1 to 500; got 501"),
        ((np.zeros((1, 12)), 500, [3]), "k must be a whole number from 1 to 499; got 500"),
        ((np.zeros((1, 12)), 0), "from 1 to 500; got 0"),
        ((np.zeros((1, 11)), 1), "queries of size 11 .* gallery of size 12"),
        ((np.full((1, 12), np.nan), 1), "queries must be finite"),
        ((np.zeros((1, 12)), 1, ["a"]), "exclude_ids must be integers, as the ids are; got 'a'"),
        (
            (np.zeros((2, 12)), 1, [3]),
            r"exclude_ids must have one entry for each of 2 queries; got \(1,\)",
        ),
    ],
)
def test_wrong_searches_are_named(arguments, message, embeddings):
    with pytest.raises(ValueError, match=message):
        Gallery.build(embeddings, np.arange(500)).search(*arguments)


def test_missing_packages_are_named(embeddings, monkeypatch, tmp_path):
    import_module = builtins.__import__

    def import_others(name, *arguments):
        if name.partition(".")[0] in ("faiss", "pyarrow"):
            raise ImportError(name)
        return import_module(name, *arguments)

    built = Gallery.build(embeddings, np.arange(500))
    monkeypatch.setattr(builtins, "__import__", import_others)
    with pytest.raises(ValueError, match=r'index=.hnsw. requires faiss: pip install "ccp_dml\['):
        Gallery.build(embeddings, np.arange(500), "hnsw")
    with pytest.raises(ValueError, match=r'require pyarrow: pip install "ccp_dml\[search\]"'):
        built.save(tmp_path / "gallery.parquet")


@pytest.mark.parametrize("index", ["hnsw", "ivf_pq"])
def test_approximate_searches_find_nearly_what_the_exact_one_does(index, clustered):
    pytest.importorskip("faiss")
    ids = [f"{n}.jpg" for n in range(len(clustered))]
    searched = Gallery.build(clustered, ids, index)
    queries = clustered[:200]
    distances, found = searched.search(queries, 10, ids[:200])
    exact_distances, exact = Gallery.build(clustered, ids).search(queries, 10, ids[:200])
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(found, exact, strict=True)])
    assert recall > 0.9
    assert searched.quality.recall_at_10 == pytest.approx(recall, abs=0.05)
    assert min(searched.quality) > 0
    # Neighbours that both find are at the same distance.
    same = found == exact
    np.testing.assert_array_equal(distances[same], exact_distances[same])
    assert all(own not in row for own, row in zip(ids, found.tolist(), strict=False))


@pytest.mark.parametrize("index", ["hnsw", "ivf_pq"])
def test_approximate_searches_find_as_many_as_asked_for(index, clustered):
    pytest.importorskip("faiss")
    searched = Gallery.build(clustered, np.arange(len(clustered)), index)
    _, found = searched.search(clustered[:3], 9_999, [0, -5, 2])
    assert all(len({*row}) == 9_999 for row in found.tolist())
    assert 0 not in found[0]
    assert 2 not in found[2]


def test_an_index_of_codes_needs_samples_to_learn_them_from(embeddings):
    pytest.importorskip("faiss")
    with pytest.raises(ValueError, match="for index='ivf_pq' must be at least 9984; got 500"):
        Gallery.build(embeddings, np.arange(500), "ivf_pq")


def test_the_graph_of_a_tiny_gallery():
    pytest.importorskip("faiss")
    searched = Gallery.build(np.array([[0.0], [1.0], [5.0]]), ["a", "b", "c"], "hnsw")
    assert searched.quality.recall_at_10 == 1
    assert searched.search(np.array([[4.0]]), 3)[1].tolist() == [["c", "b", "a"]]


@pytest.mark.parametrize("index", ["hnsw", "ivf_pq"])
def test_an_index_is_kept_beside_the_file(index, clustered, tmp_path, monkeypatch, caplog):
    pytest.importorskip("faiss")
    path = tmp_path / "gallery.parquet"
    built = Gallery.build(clustered, np.arange(len(clustered)))
    built.save(path)
    caplog.set_level("INFO", logger="absl")
    first = Gallery.load(path, index)
    assert f"{index} index of 10000 embeddings, built: recall@10" in caplog.messages[-1]
    with monkeypatch.context() as context:
        context.setattr(gallery, "ApproximateSearch", None)
        second = Gallery.load(path, index)
    assert f"read from {path}.{index}.faiss: recall@10" in caplog.messages[-1]
    assert second.quality == first.quality
    for found, expected in zip(
        second.search(clustered[:50], 10), first.search(clustered[:50], 10), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "gallery.parquet",
        f"gallery.parquet.{index}.faiss",
        f"gallery.parquet.{index}.faiss.json",
    ]


@pytest.mark.parametrize("fault", ["other embeddings", "damaged", "no description", "nonsense"])
def test_an_index_that_does_not_fit_is_made_anew(fault, embeddings, tmp_path):
    pytest.importorskip("faiss")
    path, kept = tmp_path / "gallery.parquet", tmp_path / "gallery.parquet.hnsw.faiss"
    Gallery.build(embeddings, np.arange(500)).save(path)
    Gallery.load(path, "hnsw")
    if fault == "other embeddings":
        embeddings = -embeddings[::-1].copy()
        Gallery.build(embeddings, np.arange(500)).save(path)
    elif fault == "damaged":
        kept.write_bytes(kept.read_bytes()[:1000])
    elif fault == "no description":
        (tmp_path / f"{kept.name}.json").unlink()
    else:
        (tmp_path / f"{kept.name}.json").write_text("[]")
    loaded = Gallery.load(path, "hnsw")
    np.testing.assert_array_equal(
        loaded.search(embeddings[:20], 5)[1], Gallery.load(path).search(embeddings[:20], 5)[1]
    )
    # The new index is kept.
    description = json.loads((tmp_path / f"{kept.name}.json").read_text())
    assert description["quality"] == list(loaded.quality)


def test_an_index_that_cannot_be_kept_is_used(embeddings, tmp_path, caplog):
    pytest.importorskip("faiss")
    path = tmp_path / "gallery.parquet"
    Gallery.build(embeddings, np.arange(500)).save(path)
    (tmp_path / "gallery.parquet.hnsw.faiss").mkdir()
    loaded = Gallery.load(path, "hnsw")
    assert "The index could not be saved" in caplog.text
    assert loaded.search(embeddings[:1], 1)[1].tolist() == [[0]]
