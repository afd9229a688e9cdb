import pathlib

import numpy as np
import pytest

from ccp_dml.data.cache import cache_folder, cached_array


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting:
    """Computes an array and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return np.arange(5.0)


def test_the_folder(folder, monkeypatch):
    assert cache_folder() == folder
    monkeypatch.delenv("CCP_DML_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder() == pathlib.Path("/somewhere/.cache/ccp_dml")


def test_computes_once(folder):
    compute = Counting()
    for _ in range(3):
        np.testing.assert_array_equal(cached_array("a", {"x": 1}, compute), np.arange(5.0))
    assert compute.calls == 1
    cached_array("a", {"x": 2}, compute)
    cached_array("b", {"x": 1}, compute)
    assert compute.calls == 3
    assert {path.suffix for path in folder.iterdir()} == {".npy"}


@pytest.mark.parametrize("left", [0, 40, 130])
def test_half_a_file_is_computed_again(left, folder):
    compute = Counting()
    cached_array("a", {}, compute)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:left])
    np.testing.assert_array_equal(cached_array("a", {}, compute), np.arange(5.0))
    assert compute.calls == 2
    cached_array("a", {}, compute)
    assert compute.calls == 2


def test_a_folder_that_cannot_be_written_to(folder):
    folder.write_text("a file")
    compute = Counting()
    for calls in (1, 2):
        np.testing.assert_array_equal(cached_array("a", {}, compute), np.arange(5.0))
        assert compute.calls == calls


def test_nothing_is_left_when_computing_or_writing_fails(folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_array("a", {}, interrupted)
    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_array("a", {}, Counting())
    assert not list(folder.iterdir())
