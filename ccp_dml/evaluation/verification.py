"""How well distances separate pairs of the same class from others: ROC-AUC and TAR@FAR."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_fraction, check_whole_number
from ccp_dml.evaluation.class_labels import flatten_labels
from ccp_dml.evaluation.neighbors import check_gallery_indices, check_vectors

MAX_PAIRS = 2_000_000_000
"""All pairs of 63,000 samples."""
VERIFICATION_METRICS = ("roc_auc", "tar_at_far_<rate>")
"""Names of the metrics; `<rate>` stands for a false-accept rate."""
# Number of samples whose distances from as many others are computed at a time; fits into a cache.
TILE = 1024
# Number of bins for distances, from 0 to the largest possible.
_NUM_BINS = 2**20


class Pairs(NamedTuple):
    """Some pairs of samples.

    Attributes:
        distances: float32 `(p,)`.
        same: Whether they are of the same class `(p,)`.
    """

    distances: np.ndarray
    same: np.ndarray


class PairedSamples(NamedTuple):
    """Samples that are compared in pairs.

    Attributes:
        anchors: The first samples of pairs, float64 `(a, d)`.
        anchor_labels: `(a,)`.
        others: The second samples of pairs, float64 `(m, d)`.
        other_labels: `(m,)`.
        own_rows: For each anchor the row of `others` that is the same sample, with which it makes
            no pair `(a,)`; −1 if there is none. `None` if the anchors are the first of the others
            and make pairs only with later ones.
    """

    anchors: np.ndarray
    anchor_labels: np.ndarray
    others: np.ndarray
    other_labels: np.ndarray
    own_rows: np.ndarray | None


def verification_metrics(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    metrics: Sequence[str] = ("roc_auc", "tar_at_far_0.001"),
    gallery_indices: np.ndarray | None = None,
    max_pairs: int = MAX_PAIRS,
    seed: int = 0,
) -> dict[str, float]:
    """Measures how well the distance of two samples tells whether they are of the same class.

    - `roc_auc`, the area under the curve of true over false accepts: the probability that a pair
      of the same class is nearer than a pair of different classes, where equal distances count one
      half (Fawcett, "An introduction to ROC analysis", 2006);
    - `tar_at_far_<rate>`: the largest fraction of pairs of the same class that are accepted by a
      threshold that accepts at most this fraction of the pairs of different classes (Huang et al.,
      "Labeled Faces in the Wild", 2007, use such curves).

    All pairs are compared, in blocks, and counted by their distance in 2²⁰ bins of equal width
    between 0 and the largest possible distance, so that memory is bounded: 60,502 samples make
    1.8·10⁹ pairs. Pairs in one bin count as equally distant. Beyond `max_pairs`, a random choice of
    queries is compared with all others instead.

    Args:
        embeddings: `(n, d)`.
        labels: Their classes `(n,)` or `(n, 1)`.
        gallery_embeddings: The samples to compare them with `(m, d)`. Defaults to `None`: each
            other.
        gallery_labels: Their classes `(m,)` or `(m, 1)`, required with `gallery_embeddings`.
        metrics: Names of the metrics. Defaults to the area and the true-accept rate at 0.001.
        gallery_indices: For samples that are part of the gallery, which row each of them is `(n,)`,
            −1 if none. A sample makes no pair with its own row. Defaults to `None`: no sample is
            part of the gallery.
        max_pairs: Largest number of pairs to compare. Defaults to 2·10⁹, all pairs of 63,000
            samples.
        seed: Determines the choice if there are more pairs. Defaults to 0.

    Returns:
        The metrics by name, between 0 and 1.

    Raises:
        ValueError: If shapes do not fit, a value is not finite or not below 1e15, a metric is
            unknown, there are no pairs of the same or of different classes, or too few of these
            for a rate.

    Example:

    >>> embeddings, labels = np.array([[0.0], [1.0], [1.5], [4.0]]), np.array([0, 0, 1, 1])
    >>> verification_metrics(embeddings, labels, metrics=("roc_auc", "tar_at_far_0.25"))
    {'roc_auc': 0.625, 'tar_at_far_0.25': 0.5}
    """
    rates = parse_verification_metrics(metrics)
    samples = pair_samples(
        embeddings, labels, gallery_embeddings, gallery_labels, gallery_indices, max_pairs, seed
    )
    negatives, positives = _count_by_distance(samples)
    num_negatives, num_positives = int(negatives.sum()), int(positives.sum())
    for count, kind in ((num_positives, "the same class"), (num_negatives, "different classes")):
        if not count:
            raise ValueError(f"no two samples are of {kind}: verification cannot be measured")
    accepted = np.cumsum(negatives)
    values = {}
    for name, rate in rates.items():
        if rate is None:
            # Pairs of different classes that are farther; equally distant ones count one half.
            farther = num_negatives - accepted + 0.5 * negatives
            values[name] = float(positives @ farther / num_negatives / num_positives)
        else:
            num_bins = np.searchsorted(accepted, count_allowed(rate, num_negatives), side="right")
            values[name] = float(positives[:num_bins].sum() / num_positives)
    return values


def find_rate(name: str) -> float | None:
    """Finds the false-accept rate in the name of a metric.

    Args:
        name: One of `VERIFICATION_METRICS`, with a number for `<rate>`.

    Returns:
        The rate, `None` for `roc_auc`.

    Raises:
        KeyError: If it is not such a name.
        ValueError: If the rate is not between 0 and 1.

    Example:

    >>> find_rate("tar_at_far_1e-4")
    0.0001
    """
    if name == "roc_auc":
        return None
    match = re.fullmatch(r"tar_at_far_([0-9.]+(?:e-?[0-9]+)?)", name)
    if match is None:
        raise KeyError(name)
    rate = float(match[1])
    check_fraction(f"the rate of {name}", rate)
    return rate


def parse_verification_metrics(names: Sequence[str]) -> dict[str, float | None]:
    """Finds the false-accept rates of metrics, `None` for `roc_auc`.

    Args:
        names: See `find_rate`.

    Raises:
        ValueError: If a name is unknown, or its rate is not between 0 and 1.
    """
    rates = {}
    for name in names:
        try:
            rates[name] = find_rate(name)
        except KeyError:
            raise ValueError(
                f"metrics must be among {', '.join(VERIFICATION_METRICS)}; got {name!r}"
            ) from None
    return rates


def count_allowed(rate: float, num_negatives: int) -> int:
    """Computes how many pairs of different classes a false-accept rate allows.

    Args:
        rate: The rate.
        num_negatives: Number of such pairs.

    Raises:
        ValueError: If it allows none.
    """
    # The product of a rate such as 0.29 and 100 pairs is rounded to less than 29.
    allowed = int(rate * num_negatives * (1 + 1e-12))
    if not allowed:
        raise ValueError(
            f"a false-accept rate of {rate} cannot be measured with {num_negatives} pairs of "
            f"different classes; it must be at least "
            f"{1 / num_negatives if num_negatives else 1:.3g}"
        )
    return allowed


def pair_samples(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    gallery_indices: np.ndarray | None = None,
    max_pairs: int = MAX_PAIRS,
    seed: int = 0,
) -> PairedSamples:
    """Checks samples and chooses among their pairs; see `verification_metrics`.

    Raises:
        ValueError: If shapes do not fit, or a value is not finite or not below 1e15.
    """
    max_pairs = check_whole_number("max_pairs", max_pairs, least=1)
    embeddings, labels = _check_samples(embeddings, labels, "")
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise ValueError("gallery_embeddings and gallery_labels must be given together")
    if gallery_embeddings is not None:
        others, other_labels = _check_samples(gallery_embeddings, gallery_labels, "gallery_")
        if others.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"embeddings of size {embeddings.shape[1]} cannot be compared with a gallery of "
                f"size {others.shape[1]}"
            )
        own_rows = np.full(len(labels), -1)
        if gallery_indices is not None:
            own_rows = check_gallery_indices(gallery_indices, len(labels), len(others))
        if len(labels) * len(others) > max_pairs:
            count = max(1, max_pairs // len(others))
            chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:count])
            embeddings, labels, own_rows = embeddings[chosen], labels[chosen], own_rows[chosen]
        return PairedSamples(embeddings, labels, others, other_labels, own_rows)
    if gallery_indices is not None:
        raise ValueError("gallery_indices must be given together with gallery_embeddings")
    count = len(labels)
    if count * (count - 1) // 2 > max_pairs:
        order = np.random.default_rng(seed).permutation(count)
        embeddings, labels = embeddings[order], labels[order]
        count = max(1, max_pairs // (count - 1))
    return PairedSamples(embeddings[:count], labels[:count], embeddings, labels, None)


def compare_pairs(samples: PairedSamples) -> Iterator[Pairs]:
    """Yields the pairs of samples in blocks.

    Args:
        samples: The samples to compare.
    """
    anchors, anchor_labels, others, other_labels, own_rows = samples
    anchor_squares, squares = (np.vecdot(each, each) for each in (anchors, others))
    for start in range(0, len(anchors), TILE):
        rows = slice(start, start + TILE)
        for column in range(start if own_rows is None else 0, len(others), TILE):
            columns = slice(column, column + TILE)
            # In place, because new arrays of this size cost as much as the computation.
            distances = anchors[rows] @ others[columns].T
            distances *= -2
            distances += anchor_squares[rows, None]
            distances += squares[columns]
            np.maximum(distances, 0, out=distances)
            distances = np.sqrt(distances, out=distances).astype("float32")
            same = anchor_labels[rows, None] == other_labels[columns]
            is_pair = None
            if own_rows is not None:
                places = np.arange(column, column + distances.shape[1])
                is_own = own_rows[rows, None] == places
                is_pair = ~is_own if is_own.any() else None
            elif column == start:
                is_pair = ~np.tri(*distances.shape, dtype=bool)
            if is_pair is None:
                yield Pairs(distances.ravel(), same.ravel())
            else:
                yield Pairs(distances[is_pair], same[is_pair])


def _count_by_distance(samples):
    """Counts the pairs of different classes and of the same class in each bin `(2, bins)`."""
    center = samples.others.mean(axis=0)
    radii = [
        np.sqrt(np.square(part - center).sum(axis=1).max())
        for part in (samples.anchors, samples.others)
    ]
    width = max(sum(radii) * (1 + 1e-6) / _NUM_BINS, np.finfo("float32").tiny)
    counts = np.zeros((2, _NUM_BINS), "int64")
    for distances, same in compare_pairs(samples):
        bins = (distances / width).astype("int32")
        np.minimum(bins, _NUM_BINS - 1, out=bins)
        every = np.bincount(bins, minlength=_NUM_BINS)
        positive = np.bincount(bins[same], minlength=_NUM_BINS)
        counts[0] += every
        counts[0] -= positive
        counts[1] += positive
    return counts


def _check_samples(embeddings, labels, prefix):
    embeddings, labels = check_vectors(f"{prefix}embeddings", embeddings), flatten_labels(labels)
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(f"{prefix}labels must be ({len(embeddings)},); got {labels.shape}")
    return embeddings.astype("float64"), labels
