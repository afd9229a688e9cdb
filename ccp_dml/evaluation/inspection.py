"""What embeddings reveal about a data set: near-duplicates, and labels that are probably wrong.

Both are found from the nearest neighbours of every sample among all others, as
`ccp_dml.evaluation.nearest_neighbors(embeddings, embeddings, k, np.arange(n))` returns them.
"""

from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_at_least

_DUPLICATE_FRACTION = 0.5


class NearDuplicates(NamedTuple):
    """Pairs of samples that are nearly the same, nearest first.

    Attributes:
        first: The smaller row of each pair, int64 `(p,)`.
        second: The larger row `(p,)`.
        distances: `(p,)`.
    """

    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray


class SuspiciousLabels(NamedTuple):
    """Samples whose neighbours all have another label, those with the most agreement first.

    Attributes:
        rows: Their rows, int64 `(s,)`.
        suggested: The label that most of their neighbours have `(s,)`.
        votes: Number of neighbours that have it, int64 `(s,)`.
        distances: Distance from the nearest neighbour that has it `(s,)`.
    """

    rows: np.ndarray
    suggested: np.ndarray
    votes: np.ndarray
    distances: np.ndarray


def duplicate_distance(distances: np.ndarray) -> float:
    """Estimates a distance below which two samples are probably the same image.

    Distances of embeddings have no absolute scale: a network that separates classes well puts all
    samples of a class close together. The estimate is half the median distance of a sample to its
    nearest neighbour: with any network, most samples are farther from theirs, unless half of the
    data are duplicates.

    Args:
        distances: From every sample to its nearest neighbours, nearest first `(n, k)`.

    Example:

    >>> duplicate_distance(np.array([[0.0, 0.9], [0.4, 0.5], [0.8, 0.9]]))
    0.2
    """
    return float(_DUPLICATE_FRACTION * np.median(distances[:, 0]))


def find_near_duplicates(
    distances: np.ndarray, neighbors: np.ndarray, max_distance: float
) -> NearDuplicates:
    """Finds the pairs of samples within a distance of each other.

    For a sample with more than k near-duplicates, a pair is found only if one of its samples is
    among the k nearest of the other.

    Args:
        distances: From every sample to its nearest neighbours, nearest first `(n, k)`.
        neighbors: Rows of these neighbours `(n, k)`.
        max_distance: The largest distance of a pair, such as `duplicate_distance(distances)`.

    Returns:
        Each pair once.

    Raises:
        ValueError: If shapes do not fit, or the distance is negative.

    Example:

    >>> find_near_duplicates(np.array([[0.1], [0.1], [2.0]]), np.array([[1], [0], [1]]), 0.5)
    NearDuplicates(first=array([0]), second=array([1]), distances=array([0.1]))
    """
    _check_neighbors(distances, neighbors)
    check_at_least("max_distance", max_distance, 0)
    rows, places = np.nonzero(distances <= max_distance)
    others = neighbors[rows, places].astype("int64")
    near = distances[rows, places]
    pairs = np.sort(np.stack([rows, others], axis=1), axis=1)
    pairs, chosen = np.unique(pairs, axis=0, return_index=True)
    order = np.argsort(near[chosen], kind="stable")
    return NearDuplicates(pairs[order, 0], pairs[order, 1], near[chosen][order])


def find_suspicious_labels(
    distances: np.ndarray, neighbors: np.ndarray, labels: np.ndarray
) -> SuspiciousLabels:
    """Finds the samples whose neighbours all have a label other than their own.

    A sample that is alone in its class is not reported: it cannot have a neighbour of its class.

    Args:
        distances: From every sample to its nearest neighbours, nearest first `(n, k)`.
        neighbors: Rows of these neighbours `(n, k)`.
        labels: `(n,)`.

    Returns:
        The samples, and the label that most of the k neighbours have; in a tie, that of the
        nearest.

    Raises:
        ValueError: If shapes do not fit.

    Example:

    >>> neighbors = np.array([[1, 2], [0, 2], [0, 1], [1, 2], [3, 1]])
    >>> find_suspicious_labels(np.ones((5, 2)), neighbors, np.array([0, 0, 0, 1, 1]))
    SuspiciousLabels(rows=array([3]), suggested=array([0]), votes=array([2]),
    distances=array([1.]))
    """
    _check_neighbors(distances, neighbors)
    labels = np.asarray(labels)
    if labels.shape != distances.shape[:1]:
        raise ValueError(f"labels must be ({len(distances)},); got {labels.shape}")
    names, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    found = classes[neighbors]
    is_suspicious = (found != classes[:, None]).all(axis=1) & (sizes[classes] > 1)
    rows = np.flatnonzero(is_suspicious)
    found = found[rows]
    # For each neighbour, how many of the sample's neighbours share its label; in a tie, argmax
    # chooses the nearest.
    vote_counts = (found[:, :, None] == found[:, None, :]).sum(axis=2)
    best = vote_counts.argmax(axis=1)
    each = np.arange(len(rows))
    suggested, votes = names[found[each, best]], vote_counts[each, best]
    nearest = distances[rows, best]
    order = np.lexsort((nearest, -votes))
    return SuspiciousLabels(rows[order], suggested[order], votes[order], nearest[order])


def _check_neighbors(distances, neighbors):
    if distances.ndim != 2 or distances.shape != neighbors.shape or not distances.size:
        raise ValueError(
            "distances and neighbors must be (n, k) and not empty; got "
            f"{distances.shape} and {neighbors.shape}"
        )
