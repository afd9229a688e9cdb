"""Files that appear whole or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator

from etils import epath

_PREFIX = ".unfinished-"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[epath.Path]:
    """Lets a file be written under another name, and gives it its own when it is complete.

    Processes that run at the same time never see half a file, and neither an exception nor a full
    disk leaves one. Only a process that is killed leaves a file, under the other name; see
    `remove_unfinished`.

    Args:
        path: The file; any path that `etils.epath` knows. Its folder is made if it does not exist.

    Yields:
        The name to write to, in the same folder and with the same ending.

    Example:

    ```python
    with atomic_write("/tmp/run/results.json") as unfinished:
        unfinished.write_text("{}")
    ```
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f"{_PREFIX}{uuid.uuid4().hex}-{path.name}"
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        if unfinished.exists():
            unfinished.unlink()


def remove_unfinished(folder: str | os.PathLike):
    """Removes what a process that was killed while it wrote has left in a folder and below it.

    Args:
        folder: The folder, in which nobody writes at the moment.
    """
    for path in epath.Path(folder).iterdir():
        if path.is_dir():
            remove_unfinished(path)
        elif path.name.startswith(_PREFIX):
            path.unlink()
