"""A folder for what takes a while to compute."""

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from absl import logging


def cache_folder() -> pathlib.Path:
    """Where what was computed is kept from one process to the next.

    Returns:
        The folder that the environment variable `CCP_DML_CACHE` names, or `~/.cache/ccp_dml` if it
        is not set; it need not exist.
    """
    named = os.environ.get("CCP_DML_CACHE")
    return pathlib.Path(named or "~/.cache/ccp_dml").expanduser()


def cached_array(name: str, key: Mapping, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """An array from the cache, computed and kept there if it is not there yet.

    A cache that cannot be read or written to is not an error: the array is computed.

    Args:
        name: What the array is, the first part of the name of its file.
        key: Everything that determines the array, in what JSON can hold.
        compute: Makes the array.

    Returns:
        The array.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_folder() / f"{name}-{digest}.npy"
    try:
        return np.load(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError) as error:
        logging.warning("%s cannot be read and is computed again: %s", path, error)
    array = compute()
    try:
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, array)
    except OSError as error:
        logging.info("%s is not kept: %s", path, error)
    return array


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Lets a file be written under another name, and gives it its own when it is complete.

    Processes that run at the same time never see half a file, and an interruption leaves none.

    Args:
        path: The file; its folder is made if it does not exist.

    Yields:
        The name to write to, in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    os.close(handle)
    unfinished = pathlib.Path(name)
    try:
        yield unfinished
        # As readable as other files: a temporary one is its owner's alone.
        unfinished.chmod(0o666 & ~_umask())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask():
    # It can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
