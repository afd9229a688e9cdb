"""A folder for results that take a while to compute."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from absl import logging

from ccp_dml.atomic_write import atomic_write


def cache_folder() -> pathlib.Path:
    """Returns the folder that keeps results from one process to the next.

    Returns:
        The folder that the environment variable `CCP_DML_CACHE` names, or `~/.cache/ccp_dml` if it
        is not set; it need not exist.
    """
    named = os.environ.get("CCP_DML_CACHE")
    return pathlib.Path(named or "~/.cache/ccp_dml").expanduser()


def cached_array(name: str, key: Mapping, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Returns an array from the cache, or computes and stores it.

    A cache that cannot be read or written to is not an error: the array is computed.

    Args:
        name: Name of the array, the first part of its file name.
        key: Everything that determines the array, as JSON values.
        compute: Function that computes the array.

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
        logging.warning("%s cannot be read and will be computed again: %s", path, error)
    array = compute()
    try:
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, array)
    except OSError as error:
        logging.info("%s could not be cached: %s", path, error)
    return array
