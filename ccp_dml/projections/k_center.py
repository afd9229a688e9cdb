"""Greedy k-centre: a spread-out subset of a pool of points."""

import numpy as np
from keras import ops

from ccp_dml.losses.distances import as_float, squared_distances


def greedy_k_center(pool, initial, k: int) -> np.ndarray:
    """Chooses k points of each class, each time the one farthest from what is there already.

    For every class on its own: start from each pool point's squared distance to the nearest of the
    initial points; k times, take the pool point with the largest such distance (the first one among
    equals) and lower every point's distance by its distance to the one just taken.

    Args:
        pool: Points to choose from `(C, b, d)`, b of each of C classes.
        initial: Points that are present already `(C, K, d)`. With K = 0 distances are measured from
            the origin.
        k: Number of points to take, at least 1 and at most b.

    Returns:
        Indices into the pool `(C, k)`, int64, in the order taken.

    Raises:
        ValueError: If the shapes do not fit or k is out of range.

    Example:

    >>> pool = np.array([[[0.0], [1.0], [2.0], [4.0]]], "float32")
    >>> greedy_k_center(pool, initial=np.array([[[0.0]]], "float32"), k=2)
    array([[3, 2]])
    """
    pool, initial = as_float(pool), as_float(initial)
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
        raise ValueError(f"k must be between 1 and the pool's {size} points a class; got {k}")
    initial = ops.cast(initial, pool.dtype)
    if initial.shape[1] == 0:
        initial = ops.zeros((classes, 1, dimensions), dtype=pool.dtype)
    nearest = ops.convert_to_numpy(ops.min(squared_distances(pool, initial), axis=2)).copy()
    between = ops.convert_to_numpy(squared_distances(pool, pool))
    rows = np.arange(classes)
    taken = np.empty((classes, k), "int64")
    for step in range(k):
        taken[:, step] = np.argmax(nearest, axis=1)
        np.minimum(nearest, between[rows, taken[:, step]], out=nearest)
    return taken
