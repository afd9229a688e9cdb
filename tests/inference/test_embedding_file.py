import numpy as np
import pyarrow.parquet
import pytest

from ccp_dml.inference import Gallery
from ccp_dml.inference.embedding_file import read_embeddings, read_metadata


@pytest.mark.parametrize(("ids", "column"), [(["a.jpg", "b.jpg"], "path"), ([4, 7], "id")])
def test_columns_that_databases_load(ids, column, tmp_path):
    path = tmp_path / "gallery.parquet"
    embeddings = np.array([[0.5, 1.0], [0.0, 0.25]], "float32")
    Gallery.build(embeddings, ids, labels=[None, "cat"], networks=["1f"]).save(path)
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == [column, "label", "embedding"]
    assert table.to_pydict() == {
        column: ids,
        "label": [None, "cat"],
        "embedding": embeddings.tolist(),
    }
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[2]"
    assert read_metadata(path) == {"networks": ["1f"]}
    loaded = Gallery.load(path)
    assert loaded.networks == ["1f"]
    assert loaded.ids.tolist() == ids


def test_splits_are_read(tmp_path):
    table = {"path": ["a", "b"], "split": ["train", None], "embedding": [[1.0], [2.0]]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    stored = read_embeddings(tmp_path / "a.parquet")
    assert stored.splits == ["train", None]
    assert stored.labels is None
    assert stored.metadata == {}


def test_other_files_have_no_metadata(tmp_path):
    (tmp_path / "notes.parquet").write_text("notes")
    assert read_metadata(tmp_path / "notes.parquet") == {}
    assert read_metadata(tmp_path / "none.parquet") == {}


def test_files_of_polars_have_large_lists(tmp_path):
    kinds = {"path": pyarrow.large_string(), "embedding": pyarrow.large_list(pyarrow.float32())}
    columns = {"path": ["a", "b"], "embedding": [[0.5, 1.0], [0.0, 0.25]]}
    table = pyarrow.table(columns, schema=pyarrow.schema(kinds))
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    stored = read_embeddings(tmp_path / "a.parquet")
    assert stored.ids == ["a", "b"]
    np.testing.assert_array_equal(stored.embeddings, [[0.5, 1.0], [0.0, 0.25]])
