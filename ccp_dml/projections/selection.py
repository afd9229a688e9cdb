"""Selection of the proxies that a round starts from."""

from collections.abc import Callable

import numpy as np

from ccp_dml.projections.k_center import greedy_k_center

Selection = Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]


def select_k_centers(
    pool: np.ndarray, proxies: np.ndarray, k: int, generator: np.random.Generator
) -> np.ndarray:
    """Selects samples far from each other and from the current proxies, as in the CCP paper.

    Args:
        pool: Embedded samples `(C, b, d)`, b of each of C classes, before normalisation.
        proxies: The current proxies `(C, K, d)`; with K = 0, distances are measured from the
            origin.
        k: Number of proxies to select for each class, at least 1 and at most b.
        generator: Not used.

    Returns:
        `(C, k, d)`: the samples that `greedy_k_center` chooses.

    Raises:
        ValueError: See `greedy_k_center`.

    Example:

    >>> pool = np.array([[[0.0], [1.0], [2.0], [4.0]]], "float32")
    >>> select_k_centers(pool, pool[:, :1], 2, np.random.default_rng(0)).ravel()
    array([4., 2.], dtype=float32)
    """
    indices = greedy_k_center(pool, proxies, k)
    return np.take_along_axis(pool, indices[:, :, None], axis=1)


def select_random_samples(
    pool: np.ndarray, proxies: np.ndarray, k: int, generator: np.random.Generator
) -> np.ndarray:
    """Selects random samples of the pool, without replacement.

    Args:
        pool: See `select_k_centers`.
        proxies: Not used.
        k: See `select_k_centers`.
        generator: Draws the samples. Selecting for some classes at a time gives the same samples as
            selecting for all classes at once.

    Returns:
        `(C, k, d)`, in random order.

    Raises:
        ValueError: If k is out of range.

    Example:

    >>> pool = np.array([[[0.0], [1.0], [2.0]]], "float32")
    >>> sorted(select_random_samples(pool, pool, 3, np.random.default_rng(0)).ravel().tolist())
    [0.0, 1.0, 2.0]
    """
    size = pool.shape[1]
    if not 1 <= k <= size:
        raise ValueError(f"k must be between 1 and the pool's {size} points per class; got {k}")
    indices = np.argsort(generator.random(pool.shape[:2]), axis=1)[:, :k]
    return np.take_along_axis(pool, indices[:, :, None], axis=1)


def select_class_means(
    pool: np.ndarray, proxies: np.ndarray, k: int, generator: np.random.Generator
) -> np.ndarray:
    """Selects the mean of a class's pool for each of its proxies.

    Equal proxies have equal gradients and stay equal: they count as one.

    Args:
        pool: See `select_k_centers`.
        proxies: Not used.
        k: Number of proxies for each class.
        generator: Not used.

    Returns:
        `(C, k, d)`.

    Example:

    >>> pool = np.array([[[0.0], [1.0], [5.0]]], "float32")
    >>> select_class_means(pool, pool, 2, np.random.default_rng(0)).ravel()
    array([2., 2.], dtype=float32)
    """
    return np.repeat(pool.mean(axis=1, keepdims=True), k, axis=1)


SELECTIONS: dict[str, Selection] = {
    "k_center": select_k_centers,
    "random": select_random_samples,
    "class_means": select_class_means,
}
"""The ways to select proxies, by name."""
