"""Verification: whether two images show the same class."""

from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_fraction, check_whole_number
from ccp_dml.evaluation.neighbors import check_vectors

# Samples whose distances from as many others are computed at a time; few enough for a cache.
_TILE = 1024


class VerificationThreshold(NamedTuple):
    """Pairs at this distance or below are said to be of the same class.

    Attributes:
        distance: The threshold.
        false_accept_rate: The fraction of pairs of different classes that it accepts.
        true_accept_rate: The fraction of pairs of the same class that it accepts.
        positive_pairs: Number of pairs of the same class that it was measured with.
        negative_pairs: Number of pairs of different classes.
    """

    distance: float
    false_accept_rate: float
    true_accept_rate: float
    positive_pairs: int
    negative_pairs: int


def threshold_at_false_accept_rate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    rate: float,
    max_pairs: int = 2_000_000_000,
    seed: int = 0,
) -> VerificationThreshold:
    """Chooses the distance below which two images are taken to be of the same class.

    It is the largest distance at which no more than the given fraction of pairs of different
    classes is accepted, halfway to the next such pair; take the pairs from validation data. All
    pairs are compared, in blocks, so that memory is bounded. Beyond `max_pairs`, a random choice
    of samples is compared with all others instead.

    Args:
        embeddings: `(n, d)`.
        labels: `(n,)`.
        rate: The false-accept rate, between 0 and 1.
        max_pairs: Most pairs to compare. Defaults to 2·10⁹, all pairs of 63,000 samples.
        seed: Determines the choice among more pairs. Defaults to 0.

    Returns:
        The threshold, with the rates that were measured at it.

    Raises:
        ValueError: If shapes do not fit, a value is not finite or not below 1e15, the rate is not
            between 0 and 1, there are no pairs of the same class or too few of different ones to
            measure the rate, or more of those than it allows are at distance 0.

    Example:

    >>> embeddings, labels = np.array([[0.0], [1.0], [3.0], [4.5]]), np.array([0, 0, 1, 1])
    >>> threshold_at_false_accept_rate(embeddings, labels, rate=0.25)
    VerificationThreshold(distance=2.5, false_accept_rate=0.25, true_accept_rate=1.0,
    positive_pairs=2, negative_pairs=4)
    """
    embeddings, labels = check_vectors("embeddings", embeddings), np.asarray(labels)
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(f"labels must be ({len(embeddings)},); got {labels.shape}")
    check_fraction("rate", rate)
    max_pairs = check_whole_number("max_pairs", max_pairs, least=1)
    embeddings = embeddings.astype("float64")
    labels = np.unique(labels, return_inverse=True)[1]
    anchors = len(embeddings)
    if anchors * (anchors - 1) // 2 > max_pairs:
        anchors = max(1, max_pairs // (len(embeddings) - 1))
        order = np.random.default_rng(seed).permutation(len(embeddings))
        embeddings, labels = embeddings[order], labels[order]

    # Floats that are not negative are ordered as their bits are, so that the distance of a given
    # rank is found by counting twice: first by the upper half of the bits, then by the lower.
    counts = np.zeros((2, 2**16), "int64")
    for bits, same in _pairs(embeddings, labels, anchors):
        counts += _count(bits >> 16, same)
    negatives, positives = counts.sum(axis=1).tolist()
    if not positives:
        raise ValueError("no two samples are of the same class: there is nothing to accept")
    # The product of a rate such as 0.29 with 100 pairs is rounded to less than 29.
    allowed = int(rate * negatives * (1 + 1e-12))
    if not allowed:
        raise ValueError(
            f"a false-accept rate of {rate} cannot be measured with {negatives} pairs of different "
            f"classes; it must be at least {1 / negatives if negatives else 1:.3g}"
        )
    upper = int(np.searchsorted(np.cumsum(counts[0]), allowed, side="right"))
    below = counts[:, :upper].sum(axis=1)

    counts = np.zeros((2, 2**16), "int64")
    largest_below = 0
    for bits, same in _pairs(embeddings, labels, anchors):
        high = bits >> 16
        counts += _count(bits[high == upper] & 0xFFFF, same[high == upper])
        largest_below = max(largest_below, bits[high < upper].max(initial=0))
    lower = int(np.searchsorted(below[0] + np.cumsum(counts[0]), allowed, side="right"))
    below = below + counts[:, :lower].sum(axis=1)
    present = np.flatnonzero(counts[:, :lower].any(axis=0))
    if present.size:
        largest_below = (upper << 16) + present[-1]
    first_refused = _as_distance((upper << 16) + lower)
    if not first_refused:
        raise ValueError(
            f"no threshold has a false-accept rate of {rate}: more pairs of different classes are "
            "at distance 0"
        )
    accepted_negatives, accepted_positives = below.tolist()
    return VerificationThreshold(
        _between(_as_distance(largest_below), first_refused),
        accepted_negatives / negatives,
        accepted_positives / positives,
        positives,
        negatives,
    )


def _pairs(embeddings, labels, anchors):
    """Yields the pairs of which the first is an anchor, the second a later sample, in blocks.

    Yields:
        The bits of their float32 distances, and whether they are of the same class.
    """
    squares = np.vecdot(embeddings, embeddings)
    for start in range(0, anchors, _TILE):
        rows = slice(start, min(start + _TILE, anchors))
        for column in range(start, len(embeddings), _TILE):
            columns = slice(column, column + _TILE)
            products = embeddings[rows] @ embeddings[columns].T
            distances = squares[rows, None] + squares[columns] - 2 * products
            distances = np.sqrt(np.maximum(distances, 0)).astype("float32")
            same = labels[rows, None] == labels[columns]
            if column == start:
                is_pair = ~np.tri(*distances.shape, dtype=bool)
                distances, same = distances[is_pair], same[is_pair]
            yield distances.ravel().view("uint32"), same.ravel()


def _count(bits, same):
    """How often each value occurs among pairs of different classes and of the same `(2, 65536)`."""
    total = np.bincount(bits, minlength=2**16)
    positive = np.bincount(bits[same], minlength=2**16)
    return np.stack([total - positive, positive])


def _as_distance(bits):
    return np.uint32(bits).view("float32")


def _between(last_accepted, first_refused):
    """A float32 value that separates two distances, halfway if there is one between them."""
    middle = np.float32((last_accepted + first_refused) / 2)
    return float(middle if middle < first_refused else last_accepted)
