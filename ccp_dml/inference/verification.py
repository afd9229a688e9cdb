"""Verification: deciding whether two images show the same class."""

from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_fraction
from ccp_dml.evaluation.verification import (
    MAX_PAIRS,
    compare_pairs,
    count_allowed,
    pair_samples,
)


class VerificationThreshold(NamedTuple):
    """A distance at or below which pairs are taken to be of the same class.

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
    max_pairs: int = MAX_PAIRS,
    seed: int = 0,
) -> VerificationThreshold:
    """Chooses a threshold for the distance of two images of the same class.

    It accepts at most the given fraction of pairs of different classes and, of the thresholds that
    do, the most pairs of the same class; it lies halfway to the next pair of different classes.
    Take the samples from validation data. All pairs are compared, in blocks, so that memory is
    bounded. Beyond `max_pairs`, a random choice of samples is compared with all others instead.

    Args:
        embeddings: `(n, d)`.
        labels: `(n,)` or `(n, 1)`.
        rate: The false-accept rate, between 0 and 1.
        max_pairs: Largest number of pairs to compare. Defaults to 2·10⁹, all pairs of 63,000
            samples.
        seed: Determines the choice if there are more pairs. Defaults to 0.

    Returns:
        The threshold, with the rates that were measured at it.

    Raises:
        ValueError: If shapes do not fit, a value is not finite or not below 1e15, the rate is not
            between 0 and 1, there are no pairs of the same class, too few of different classes to
            measure the rate, or more of the latter at distance 0 than the rate allows.

    Example:

    >>> embeddings, labels = np.array([[0.0], [1.0], [3.0], [4.5]]), np.array([0, 0, 1, 1])
    >>> threshold_at_false_accept_rate(embeddings, labels, rate=0.25)
    VerificationThreshold(distance=2.5, false_accept_rate=0.25, true_accept_rate=1.0,
    positive_pairs=2, negative_pairs=4)
    """
    check_fraction("rate", rate)
    samples = pair_samples(embeddings, labels, max_pairs=max_pairs, seed=seed)

    # Non-negative floats have the same order as their bits, so that the distance of a given rank is
    # found by counting twice: first by the upper half of the bits, then by the lower.
    counts = np.zeros((2, 2**16), "int64")
    for bits, same in _compare(samples):
        counts += _count(bits >> 16, same)
    negatives, positives = counts.sum(axis=1).tolist()
    if not positives:
        raise ValueError("no two samples are of the same class: there is nothing to accept")
    allowed = count_allowed(rate, negatives)
    upper = int(np.searchsorted(np.cumsum(counts[0]), allowed, side="right"))
    below = counts[:, :upper].sum(axis=1)

    counts = np.zeros((2, 2**16), "int64")
    largest_below = 0
    for bits, same in _compare(samples):
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


def _compare(samples):
    """Yields the bits of the distances of pairs, and whether they are of the same class."""
    for distances, same in compare_pairs(samples):
        yield distances.view("uint32"), same


def _count(bits, same):
    """Counts each value among pairs of different classes and of the same `(2, 65536)`."""
    total = np.bincount(bits, minlength=2**16)
    positive = np.bincount(bits[same], minlength=2**16)
    return np.stack([total - positive, positive])


def _as_distance(bits):
    return np.uint32(bits).view("float32")


def _between(last_accepted, first_refused):
    """Returns a float32 value that separates two distances, halfway between them if possible."""
    middle = np.float32((last_accepted + first_refused) / 2)
    return float(middle if middle < first_refused else last_accepted)
