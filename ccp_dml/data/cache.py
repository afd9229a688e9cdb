"""A folder for what takes a while to compute."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from absl import logging

from ccp_dml.atomic_write import atomic_write


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
