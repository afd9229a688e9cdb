"""Greedy k-centre: a spread-out subset of a pool of points."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import numpy.typing as npt

from ccp_dml.processor_count import count_processors

# Classes are processed in blocks of about this many bytes of the pool: small enough for the
# processor's caches, large enough that threads seldom wait for the interpreter.
_BLOCK_BYTES = 2**22


def greedy_k_center(pool: npt.ArrayLike, initial: npt.ArrayLike, k: int) -> np.ndarray:
    """Chooses k points of each class, each time the one farthest from those chosen so far.

    For each class separately: start from each pool point's squared distance to the nearest of the
    initial points; k times, take the pool point with the largest such distance (the first one among
    equals) and lower every point's distance by its distance to the one just taken.

    Args:
        pool: Points to choose from `(C, b, d)`, b of each of C classes.
        initial: Points that count as already chosen `(C, K, d)`. With K = 0, distances are measured
            from the origin.
        k: Number of points to take, at least 1 and at most b.

    Returns:
        Indices into the pool `(C, k)`, int64, in the order taken.

    Raises:
        ValueError: If shapes do not fit or k is out of range.

    Example:

    >>> pool = np.array([[[0.0], [1.0], [2.0], [4.0]]], "float32")
    >>> greedy_k_center(pool, initial=np.array([[[0.0]]], "float32"), k=2)
    array([[3, 2]])
    """
    pool, initial = _to_float(pool), _to_float(initial)
    if len(pool.shape) != 3 or len(initial.shape) != 3:
        raise ValueError(
            "pool must be (C, b, d) and initial (C, K, d); got "
            f"{tuple(pool.shape)} and {tuple(initial.shape)}"
        )
    classes, size, dimensions = pool.shape
    if initial.shape[0] != classes or initial.shape[2] != dimensions:
        raise ValueError(
            "pool and initial must have the same classes and dimensions; got "
            f"{tuple(pool.shape)} and {tuple(initial.shape)}"
        )
    if not 1 <= k <= size:
        raise ValueError(f"k must be between 1 and the pool's {size} points per class; got {k}")
    initial = initial.astype(pool.dtype, copy=False)
    if initial.shape[1] == 0:
        initial = np.zeros((classes, 1, dimensions), pool.dtype)
    taken = np.empty((classes, k), "int64")
    at_once = max(1, _BLOCK_BYTES // max(1, size * dimensions * pool.itemsize))
    blocks = [slice(start, start + at_once) for start in range(0, classes, at_once)]
    with ThreadPoolExecutor(count_processors()) as threads:
        chosen = threads.map(lambda block: _choose_centers(pool[block], initial[block], k), blocks)
        for block, indices in zip(blocks, chosen, strict=True):
            taken[block] = indices
    return taken


def _to_float(points):
    """Converts to an array of at least float32, without a copy if it is one already."""
    points = np.asarray(points)
    dtype = keras.backend.standardize_dtype(points.dtype)
    return points.astype(keras.backend.result_type(dtype, "float32"), copy=False)


def _choose_centers(pool, initial, k):
    # Distances are computed from differences. A matrix product would have the magnitude of the
    # vectors and round small distances away.
    pool = np.ascontiguousarray(pool)
    rows = np.arange(len(pool))
    differences = np.empty_like(pool)
    nearest = np.full(pool.shape[:2], np.inf, pool.dtype)
    taken = np.empty((len(pool), k), "int64")

    def add_centers(centers):
        np.subtract(pool, centers[:, None], out=differences)
        np.minimum(nearest, np.vecdot(differences, differences), out=nearest)

    for number in range(initial.shape[1]):
        add_centers(initial[:, number])
    for step in range(k):
        if step:
            add_centers(pool[rows, taken[:, step - 1]])
        taken[:, step] = np.argmax(nearest, axis=1)
    return taken
