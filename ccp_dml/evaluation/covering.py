"""Covering radius: how far a class's samples are from the points that represent them."""

import numpy as np

from ccp_dml.checks import check_whole_number
from ccp_dml.evaluation.class_labels import flatten_labels
from ccp_dml.losses.distances import squared_distances, to_float

# Classes are handled together, padded to the largest among them, up to this many vectors.
_MAX_VECTORS = 2**18


def covering_radius(embeddings: np.ndarray, labels: np.ndarray, num_centers: int) -> np.ndarray:
    """Computes the covering radius of each class for 1…n centres chosen by greedy k-centre.

    The radius of a class is the largest distance from one of its samples to the nearest centre. The
    first centre is the sample nearest to the class's mean; each further one is the sample farthest
    from the centres so far. The generalisation bound of the CCP paper contains the mean of the
    radius over the classes.

    Args:
        embeddings: `(n, d)`, normalised, if distances between normalised vectors are wanted.
        labels: Integers `(n,)` or `(n, 1)`.
        num_centers: Number of centres n. A class with fewer samples has radius 0 from there on.

    Returns:
        float32 `(C, num_centers)`: the radius of each class, in ascending order of the labels, by
        one centre, by two, and so on.

    Raises:
        ValueError: If shapes do not fit or `num_centers` is not positive.

    Example:

    >>> covering_radius(np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 0]), num_centers=3)
    array([[4., 1., 0.]], dtype=float32)
    """
    embeddings, labels = np.asarray(embeddings, "float32"), flatten_labels(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings must be (n, d) and labels (n,); got {embeddings.shape} and {labels.shape}"
        )
    check_whole_number("num_centers", num_centers, 1)
    samples = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[samples], return_index=True, return_counts=True)
    means = np.add.reduceat(embeddings[samples], starts) / sizes[:, None].astype("float32")
    radii = np.zeros((len(sizes), num_centers), "float32")
    # Classes of similar size are padded together, so that one large class does not pad all of them.
    by_size = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(by_size):
        size = int(sizes[by_size[start]])
        group = by_size[start : start + max(1, _MAX_VECTORS // size)]
        start += len(group)
        # The padding repeats a class's first samples, which changes no radius.
        members = starts[group, None] + np.arange(size) % sizes[group, None]
        radii[group] = _compute_radii(embeddings[samples[members]], means[group], num_centers)
    return radii


def _compute_radii(points, means, num_centers):
    """Computes radii `(C, num_centers)` of points `(C, n, d)` of classes with `means` `(C, d)`."""
    rows = np.arange(len(points))
    to_mean = np.square(points - means[:, None]).sum(axis=2)
    center = points[rows, to_mean.argmin(axis=1)]
    nearest = np.full(points.shape[:2], np.inf, "float32")
    radii = np.empty((len(points), num_centers), "float32")
    for index in range(num_centers):
        nearest = np.minimum(nearest, np.square(points - center[:, None]).sum(axis=2))
        farthest = nearest.argmax(axis=1)
        radii[:, index] = np.sqrt(nearest[rows, farthest])
        center = points[rows, farthest]
    return radii


def radius_by_centers(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Computes the covering radius of each class for given centres.

    Args:
        points: `(C, n, d)`.
        centers: `(C, K, d)`.

    Returns:
        Covering radii `(C,)`.
    """
    squared = squared_distances(to_float(points), to_float(centers))
    return np.sqrt(np.asarray(squared).min(axis=2).max(axis=1))
