"""Runs on a full disk: no file is left half-written, and finished work is kept."""

import csv
import errno
import io
import json
import os
import pathlib
import shutil
import subprocess

import keras
import matplotlib.figure
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = (
    f"--flagfile={ROOT / 'experiments' / 'digits.flags'}",
    "--method=ccp",
    "--max_steps=20",
    "--steps_per_validation=5",
    "--warmup_steps=5",
    # Every second validation ends a round.
    "--round_patience=1",
    "--round_min_delta=0.5",
    "--learning_rate=1e-3",
    "--figure_rounds=1",
    "--noreport",
)
SIZE = 4 * 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no command mount")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"mounting is not permitted: {mount.stderr.strip()}")
    try:
        yield folder
    finally:
        # TensorFlow may still have a log open.
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def made_anew(tmp_path_factory):
    """The folder of a run that had enough space."""
    return tmp_path_factory.mktemp("runs") / "room"


@pytest.fixture
def expected(made_anew, run_command):
    if not made_anew.exists():
        run_command(*DIGITS, f"--workdir={made_anew}")
    return made_anew


def open_all(folder):
    """Opens all files of known formats, and returns their suffixes."""
    kinds = set()
    for path in folder.rglob("*"):
        assert not path.name.startswith(".unfinished"), path
        if path.suffix == ".keras":
            keras.models.load_model(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                assert dict(arrays)
        elif path.suffix == ".csv":
            # It grows row by row, and may still be empty.
            assert len({len(row) for row in csv.reader(path.open())}) <= 1
        else:
            continue
        kinds.add(path.suffix)
    return kinds


def read_results(folder):
    results = json.loads((folder / "results.json").read_text())
    for name in ("before", "ccp"):
        results[name].pop("seconds")
    return results


def assert_same_run(ours, theirs):
    assert read_results(ours) == read_results(theirs)
    assert (ours / "ccp" / "history.csv").read_bytes() == (
        theirs / "ccp" / "history.csv"
    ).read_bytes()
    networks = [keras.models.load_model(folder / "model.keras") for folder in (ours, theirs)]
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(path.name for path in ours.iterdir() if path.name != ".lock") == sorted(
        path.name for path in theirs.iterdir() if path.name != ".lock"
    )


def assert_asks_for_room(run_command, capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run_command(*arguments)
    assert stopped.value.code == 2
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("ccp_dml: ")
    ]
    assert "No space left on device" in line
    assert line.endswith("finished work is kept: free some space and run the same command again")


def test_a_run_resumes_when_the_disk_has_space_again(small_disk, expected, run_command, capsys):
    workdir = small_disk / "run"
    # Too little for anything at all, the logs, a checkpoint, a network, and its copy.
    for kilobytes in (0, 12, 40, 300, 700):
        (small_disk / "ballast").write_bytes(bytes(SIZE - kilobytes * 1024 - _used(workdir)))
        assert_asks_for_room(run_command, capsys, *DIGITS, f"--workdir={workdir}")
        open_all(small_disk)
        (small_disk / "ballast").unlink()
    run_command(*DIGITS, f"--workdir={workdir}")
    assert open_all(workdir) == {".keras", ".json", ".npz", ".csv"}
    assert_same_run(workdir, expected)


def _used(folder):
    # In whole pages, as the disk counts them.
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(-(-size // 4096) * 4096 for size in sizes)


def write_to_full_disk(*arguments, **options):
    """Stands in for a function or method that writes to a file or a path."""
    for argument in arguments:
        if isinstance(argument, os.PathLike):
            pathlib.Path(argument).write_bytes(b"half")
        elif isinstance(argument, io.IOBase):
            argument.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_cannot_be_written_is_not_there(expected, run_command, capsys, tmp_path):
    workdir = tmp_path / "run"
    # A checkpoint, a network and the figure.
    for owner, name in [
        (np, "savez"),
        (keras.Model, "save"),
        (matplotlib.figure.Figure, "savefig"),
    ]:
        with pytest.MonkeyPatch.context() as patches:
            patches.setattr(owner, name, write_to_full_disk)
            assert_asks_for_room(run_command, capsys, *DIGITS, f"--workdir={workdir}")
        open_all(workdir)
    run_command(*DIGITS, f"--workdir={workdir}")
    assert_same_run(workdir, expected)
