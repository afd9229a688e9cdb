"""The folder of a run: its lock, its JSON files, and what an earlier run left in it."""

import contextlib
import json
import os
import signal
import socket

import pytest

from ccp_dml.experiment import workdir
from ccp_dml.experiment.workdir import (
    WorkdirInUseError,
    WorkdirLock,
    move_to_earlier,
    read_json,
    write_json,
)


@contextlib.contextmanager
def owned_by_another_process(folder):
    """Yields the ID of a process that holds the folder's lock."""
    entered, report = os.pipe()
    process = os.fork()
    if not process:
        with contextlib.suppress(BaseException), WorkdirLock(folder):
            os.write(report, b"entered")
            signal.pause()
        os._exit(0)
    os.close(report)
    try:
        assert os.read(entered, 7) == b"entered"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)
        os.close(entered)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(workdir, "_SECONDS_TO_WAIT", 0.01)


def test_a_second_process_is_told_who_owns_the_folder(tmp_path, impatient):
    with owned_by_another_process(tmp_path / "run") as process:
        with pytest.raises(WorkdirInUseError) as error, WorkdirLock(tmp_path / "run"):
            pass
        (line,) = str(error.value).splitlines()
        assert (
            f"process {process} on {socket.gethostname()} has been working in {tmp_path / 'run'}"
            in line
        )
        # The owner is not disturbed.
        assert read_json(tmp_path / "run" / ".owner.json")["process"] == process


def test_the_folder_is_free_when_its_owner_was_killed(tmp_path, impatient):
    with owned_by_another_process(tmp_path) as process:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        with WorkdirLock(tmp_path):
            assert read_json(tmp_path / ".owner.json")["process"] == os.getpid()


def test_the_folder_is_free_when_its_owner_has_left(tmp_path, impatient):
    for _ in range(2):
        with WorkdirLock(tmp_path / "run"):
            with pytest.raises(WorkdirInUseError, match=f"process {os.getpid()} on"):
                WorkdirLock(tmp_path / "run").__enter__()
            assert (tmp_path / "run" / ".owner.json").exists()
        assert not (tmp_path / "run" / ".owner.json").exists()


def test_a_folder_is_free_when_its_owner_could_not_enter(tmp_path, impatient, monkeypatch):
    with monkeypatch.context() as patches:
        patches.setattr(workdir, "write_json", lambda path, value: (tmp_path / "no" / "x").touch())
        with pytest.raises(OSError, match="cannot be written to"):
            WorkdirLock(tmp_path).__enter__()
    with WorkdirLock(tmp_path):
        assert (tmp_path / ".owner.json").exists()


@pytest.mark.parametrize("uses_tensorflow", ["0", "1"])
def test_a_bucket_that_nothing_can_write_to(uses_tensorflow, monkeypatch):
    # Without TensorFlow, etils needs a package that this one does not require.
    monkeypatch.setenv("EPATH_USE_TF", uses_tensorflow)
    with (
        pytest.raises(OSError, match="workdir s3://nowhere/x cannot be written to: "),
        WorkdirLock("s3://nowhere/x"),
    ):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"workdir .*file/run cannot be written to"):
        WorkdirLock(tmp_path / "file" / "run").__enter__()


@pytest.mark.parametrize(
    ("host", "process", "is_free"),
    [
        (socket.gethostname(), os.getpid(), False),
        # No process has so large a number.
        (socket.gethostname(), 2**22 + 1, True),
        ("elsewhere", 2**22 + 1, False),
    ],
    ids=["running", "killed", "on another host"],
)
def test_an_address_has_no_locks_but_an_owner(bucket, host, process, is_free):
    path = bucket / "run" / ".owner.json"
    write_json(path, {"process": process, "host": host, "since": "2020-01-01 00:00:00"})
    if is_free:
        with WorkdirLock("gs://bucket/run"):
            assert read_json(path)["process"] == os.getpid()
        assert not path.exists()
    else:
        message = (
            f"process {process} on {host} has been working in gs://bucket/run since "
            "2020-01-01 00:00:00; if it no longer runs, delete gs://bucket/run/.owner.json"
        )
        with pytest.raises(WorkdirInUseError, match=message):
            WorkdirLock("gs://bucket/run").__enter__()
        assert read_json(path)["process"] == process


def test_json_files_are_whole_or_nothing(tmp_path):
    path = tmp_path / "results.json"
    assert read_json(path) is None
    write_json(path, {"map_at_r": 0.5})
    assert read_json(path) == json.loads(path.read_text()) == {"map_at_r": 0.5}
    with pytest.raises(TypeError):
        write_json(path, {"map_at_r": object()})
    assert read_json(path) == {"map_at_r": 0.5}
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]
    path.write_text('{"map_at')
    assert read_json(path) is None


def test_what_an_earlier_run_left_is_moved(tmp_path):
    for run in ("first", "second"):
        (tmp_path / "plain").mkdir()
        (tmp_path / "plain" / "history.csv").write_text(run)
        (tmp_path / "results.json").write_text(run)
        (tmp_path / "mine.txt").write_text("mine")
        earlier = move_to_earlier(tmp_path, ["results.json", "plain", "ccp"])
        assert earlier.parent == tmp_path / "earlier"
        assert (earlier / "results.json").read_text() == run
        assert (earlier / "plain" / "history.csv").read_text() == run
        assert sorted(path.name for path in tmp_path.iterdir()) == ["earlier", "mine.txt"]
    assert len(list((tmp_path / "earlier").iterdir())) == 2


def test_without_an_earlier_run_nothing_is_moved(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert move_to_earlier(tmp_path, ["results.json"]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_note_of_the_owner_names_nobody(tmp_path, impatient):
    with owned_by_another_process(tmp_path / "run"):
        (tmp_path / "run" / ".owner.json").write_text('{"host": "elsewhere"}')
        with (
            pytest.raises(WorkdirInUseError, match=r"another process is working in .*/run"),
            WorkdirLock(tmp_path / "run"),
        ):
            pass
