import errno

import pytest
from etils import epath

from ccp_dml.atomic_write import atomic_write, remove_unfinished


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path):
    (tmp_path / "results.json").write_text("before")
    return tmp_path / "results.json"


def test_a_file_appears_when_it_is_complete(path):
    with atomic_write(path) as unfinished:
        unfinished.write_text("half")
        assert path.read_text() == "before"
        with unfinished.open("a") as file:
            file.write(" and half")
        assert path.read_text() == "before"
    assert path.read_text() == "half and half"
    assert names(path.parent) == ["results.json"]


def write_half(path, error):
    with atomic_write(path) as unfinished:
        unfinished.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(path, error):
    with pytest.raises(error):
        write_half(path, error)
    assert path.read_text() == "before"
    assert names(path.parent) == ["results.json"]


class FullDisk:
    """A file on a disk that has room for only a few bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        self.file.write(content[: self.room])
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def write_to_full_disk(path):
    with atomic_write(path) as unfinished, unfinished.open("w") as file:
        disk = FullDisk(file, room=5)
        disk.write("half")
        disk.write(" and half")


def test_a_full_disk_leaves_what_was_there(path):
    with pytest.raises(OSError, match="No space left"):
        write_to_full_disk(path)
    assert path.read_text() == "before"
    assert names(path.parent) == ["results.json"]


def test_nothing_is_written_if_nothing_is(path):
    with pytest.raises(FileNotFoundError), atomic_write(path):
        pass
    assert path.read_text() == "before"


@pytest.mark.parametrize("name", ["model.keras", "network.weights.h5", "flags"])
def test_the_ending_is_kept(tmp_path, name):
    with atomic_write(tmp_path / "new" / "folder" / name) as unfinished:
        assert isinstance(unfinished, epath.Path)
        assert unfinished.name.endswith(name)
        assert unfinished.parent == tmp_path / "new" / "folder"
        unfinished.write_text("")
    assert names(tmp_path / "new" / "folder") == [name]


def test_two_that_write_at_once_do_not_disturb_each_other(path):
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(path.parent) == ["results.json"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "plain").mkdir()
    for folder in (tmp_path, tmp_path / "plain"):
        (folder / "results.json").write_text("whole")
        # The block is never exited, as if the process were killed.
        unfinished = atomic_write(folder / "model.keras").__enter__()
        unfinished.write_text("half")
        assert len(names(folder)) > 1
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ["plain", "results.json"]
    assert names(tmp_path / "plain") == ["results.json"]
