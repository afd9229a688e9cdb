"""The work folder of a run: its lock, its JSON files, and earlier results."""

import datetime
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

import filelock
import psutil
import tensorflow as tf
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write

_LOCK = ".lock"
_OWNER = ".owner.json"
# A process that was asked to stop saves its work before it releases the folder.
_SECONDS_TO_WAIT = 5


class WorkdirInUseError(Exception):
    """Another process works in the folder; the message says which."""


class WorkdirLock:
    """Keeps other processes out of a folder while it is entered.

    On a local file system the operating system releases the folder when the process ends, however
    it ends. Elsewhere, such as on `gs://`, a killed process leaves its lock behind: a later process
    on the same host takes it over; on another host, the error says what to delete.

    Args:
        folder: The folder, any path that `etils.epath` knows; made if it does not exist.

    Raises:
        WorkdirInUseError: When it is entered, if another process works in the folder.
        OSError: When it is entered, if the folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = epath.Path(folder)
        self._lock = None

    def __enter__(self) -> "WorkdirLock":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._acquire()
            owner = {
                "process": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.datetime.now().isoformat(sep=" ", timespec="seconds"),
            }
            write_json(self.folder / _OWNER, owner)
        except (OSError, ImportError, tf.errors.OpError) as error:
            self._release()
            reason = str(error).splitlines()[0]
            raise OSError(f"workdir {self.folder} cannot be written to: {reason}") from error
        return self

    def _acquire(self):
        if "://" not in os.fspath(self.folder):
            self._lock = filelock.FileLock(os.fspath(self.folder / _LOCK))
            try:
                self._lock.acquire(timeout=_SECONDS_TO_WAIT)
            except filelock.Timeout as error:
                raise WorkdirInUseError(self._describe_owner()) from error
        elif self._is_owned():
            raise WorkdirInUseError(
                f"{self._describe_owner()}; if it no longer runs, delete {self.folder / _OWNER}"
            )

    def __exit__(self, *exception):
        (self.folder / _OWNER).unlink(missing_ok=True)
        self._release()

    def _release(self):
        if self._lock is not None:
            self._lock.release()

    def _is_owned(self):
        owner = self._read_owner()
        if owner is None:
            return False
        return owner["host"] != socket.gethostname() or psutil.pid_exists(owner["process"])

    def _read_owner(self):
        """Returns who works in the folder; `None` if nobody does, or the file is damaged."""
        owner = read_json(self.folder / _OWNER)
        is_whole = isinstance(owner, dict) and {"process", "host", "since"} <= set(owner)
        return owner if is_whole else None

    def _describe_owner(self):
        owner = self._read_owner()
        if owner is None:
            return f"another process is working in {self.folder}"
        return (
            f"process {owner['process']} on {owner['host']} has been working in {self.folder} "
            f"since {owner['since']}"
        )


def folder_exists(folder: epath.Path) -> bool:
    """Returns whether a folder exists, as far as it can be read."""
    try:
        return folder.exists()
    # A location that cannot be read cannot be written to either, which the lock reports. For some
    # locations, the package that reads them is missing.
    except (ImportError, tf.errors.OpError):
        return False


def read_json(path: str | os.PathLike) -> Any:
    """Returns the contents of a JSON file; `None` if it does not exist or is damaged."""
    try:
        return json.loads(epath.Path(path).read_text())
    # JSON can be nested too deeply for Python.
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: str | os.PathLike, value: Any):
    """Writes a JSON file atomically."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=2) + "\n")


def move_to_earlier(folder: str | os.PathLike, names: Sequence[str]) -> epath.Path | None:
    """Moves the files of an earlier run to the subfolder `earlier`.

    Args:
        folder: The folder of the run.
        names: The files and folders of a run; others stay where they are.

    Returns:
        The folder that they were moved to, `None` if there was nothing to move.
    """
    root = epath.Path(folder)
    left = [path for path in (root / name for name in names) if path.exists()]
    if not left:
        return None
    moment = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S-%f")
    earlier = root / "earlier" / moment
    earlier.mkdir(parents=True)
    for path in left:
        path.rename(earlier / path.name)
    logging.info("Moved the results of an earlier run to %s.", earlier)
    return earlier
