import pathlib

import numpy as np
import pytest

from ccp_dml.data import ImageIndex, SplitSize
from ccp_dml.data.image_index import absolute_path, read_index, write_index

ROWS = [("images/0/0.jpg", 0, "train"), ("images/7/0.jpg", 7, "query"), ("a, b.jpg", 7, "gallery")]


def test_what_is_written_is_read(tmp_path):
    write_index(tmp_path, ROWS)
    index = read_index(tmp_path)
    assert index.paths.tolist() == [f"{tmp_path}/{path}" for path, _, _ in ROWS]
    assert index.labels.tolist() == [0, 7, 7]
    assert index.splits.tolist() == ["train", "query", "gallery"]
    assert len(index) == 3


def test_there_is_no_index_before_it_is_complete(tmp_path, monkeypatch):
    def interrupt(path, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(type(absolute_path(tmp_path)), "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_index(tmp_path, ROWS)
    assert read_index(tmp_path) is None
    write_index(tmp_path, ROWS)
    assert len(read_index(tmp_path)) == 3


@pytest.mark.parametrize(
    "text",
    ["", "path,label,split\n", "path,label,split\na.jpg,0\n", "a,b,c\n"]
    + [f"path,label,split\n{path},0,train\n" for path in ("../x", "/etc/passwd", "a/../../x")]
    + ["path,label,split\na.jpg,boot,train\n"],
)
def test_a_damaged_index_is_named(tmp_path, text):
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(ValueError, match=r"index.csv is damaged; delete it"):
        read_index(tmp_path)


def test_an_index_in_a_bucket(bucket):
    write_index("gs://bucket", ROWS)
    assert (bucket / "index.csv").exists()
    index = read_index("gs://bucket")
    assert index.paths[0] == "gs://bucket/images/0/0.jpg"


def test_sizes():
    labels = np.array([0, 0, 1, 5, 6])
    splits = np.array(["train", "train", "train", "test", "test"])
    index = ImageIndex(np.array(list("abcde")), labels, splits)
    assert index.sizes() == {"train": SplitSize(3, 2), "test": SplitSize(2, 2)}
    with pytest.raises(ValueError, match=r"must be \(n,\); got \(\(5,\), \(4,\), \(5,\)\)"):
        ImageIndex(index.paths, labels[:4], splits)


def test_paths_and_addresses_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(absolute_path("gs://bucket/images")) == "gs://bucket/images"
    assert str(absolute_path("~/images")) == "/home/someone/images"
    assert str(absolute_path("images")) == str(pathlib.Path.cwd() / "images")
