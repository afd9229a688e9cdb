"""Atomic writing of files."""

import contextlib
import os
import uuid
from collections.abc import Iterator

from etils import epath

_PREFIX = ".unfinished-"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[epath.Path]:
    """A context that writes a file under another name and renames it when it is complete.

    Other processes never see half a file, and neither an exception nor a full disk leaves one. Only
    a killed process leaves a file, under the other name; see `remove_unfinished`.

    Args:
        path: The file; any path that `etils.epath` knows. Its folder is created if it does not
            exist.

    Yields:
        The name to write to, in the same folder and with the same suffix.

    Example:

    ```python
    with atomic_write("/tmp/run/results.json") as unfinished:
        unfinished.write_text("{}")
    ```
    """
    target = epath.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.parent / f"{_PREFIX}{uuid.uuid4().hex}-{target.name}"
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        if unfinished.exists():
            unfinished.unlink()


def remove_unfinished(folder: str | os.PathLike):
    """Removes the unfinished files of killed processes in a folder and its subfolders.

    Args:
        folder: The folder, to which no process may be writing.
    """
    for path in epath.Path(folder).iterdir():
        if path.is_dir():
            remove_unfinished(path)
        elif path.name.startswith(_PREFIX):
            path.unlink()
