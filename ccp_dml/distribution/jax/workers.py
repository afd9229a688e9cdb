"""Coordination of the processes of JAX: who writes, and when all are done."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def num_workers(strategy=None) -> int:
    """Returns the number of processes that train together.

    Args:
        strategy: Not used; all processes of JAX train together.
    """
    return jax.process_count()


def is_chief(strategy=None) -> bool:
    """Returns whether this process is the one that writes files and prints.

    Args:
        strategy: Not used; see `num_workers`.
    """
    return jax.process_index() == 0


def sum_over_workers(array: np.ndarray, strategy=None) -> np.ndarray:
    """Sums an array over the processes; all have to call this and get the same bits.

    Args:
        array: Numbers, of the same shape and dtype in every process.
        strategy: Not used; see `num_workers`.

    Returns:
        The sum, of the same shape and dtype; `array` itself if there is only one process.
    """
    if num_workers() == 1:
        return array
    array = np.asarray(array)
    # As bytes: JAX would turn float64 into float32.
    shares = multihost_utils.process_allgather(np.frombuffer(array.tobytes(), "uint8"))
    shares = np.asarray(shares).view(array.dtype).reshape(num_workers(), *array.shape)
    return shares.sum(axis=0, dtype=array.dtype)


def wait_for_all(strategy=None):
    """Returns when every process has called it.

    Args:
        strategy: Not used; see `num_workers`.
    """
    sum_over_workers(np.zeros((), "float32"))
