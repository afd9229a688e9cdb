"""Reductions: ways to combine the terms of pairs, or of anchors, into one number."""

from collections.abc import Callable

from keras import ops

from ccp_dml.losses.pairwise import Pairs, mean_over_nonzero, mean_where


def mean_nonzero(terms, mask, pairs: Pairs):
    """The sum divided by the number of terms above zero: easy pairs do not make it smaller."""
    return mean_over_nonzero(terms, pairs.weigh_negatives)


def mean(terms, mask, pairs: Pairs):
    """The mean over all pairs of the mask."""
    return mean_where(terms, mask, pairs.weigh_negatives)


def sum_per_anchor(terms, mask, pairs: Pairs):
    """The sum over each anchor's pairs, and its mean over all anchors."""
    anchors = ops.maximum(ops.cast(ops.shape(terms)[0], terms.dtype), 1.0)
    return ops.sum(pairs.weigh_negatives(terms)) / anchors


def per_anchor(terms, mask, pairs: Pairs):
    """The mean over each anchor's pairs, and its mean over all anchors; 0 for one without pairs."""
    return ops.mean(_mean_of_each_anchor(terms, mask, pairs))


def per_class(terms, mask, pairs: Pairs):
    """Like `per_anchor`, but anchors are averaged within each class first."""
    anchor_means = _mean_of_each_anchor(terms, mask, pairs)
    return mean_per_class(anchor_means, ops.ones_like(anchor_means, dtype="bool"), pairs)


def _mean_of_each_anchor(terms, mask, pairs):
    counts = ops.sum(pairs.weigh_negatives(ops.cast(mask, terms.dtype)), axis=1)
    sums = ops.sum(pairs.weigh_negatives(ops.where(mask, terms, 0.0)), axis=1)
    return sums / ops.where(counts > 0.0, counts, 1.0)


def mean_per_anchor(values, mask, pairs: Pairs):
    """The mean over the anchors in the mask: each counts the same."""
    return mean_where(values, mask)


def mean_per_class(values, mask, pairs: Pairs):
    """The mean over classes of their means: each counts the same, however many anchors it has."""
    labels = pairs.class_numbers("the reduction per_class")
    is_same_class = ops.equal(labels[:, None], labels[None, :])
    counts = ops.sum(ops.cast(ops.logical_and(is_same_class, mask), values.dtype), axis=1)
    weights = ops.where(mask, 1.0 / ops.where(mask, counts, 1.0), 0.0)
    num_classes = ops.sum(weights)
    total = ops.sum(weights * ops.where(mask, values, 0.0))
    return total / ops.where(num_classes > 0.0, num_classes, 1.0)


REDUCTIONS: dict[str, Callable] = {
    "mean_nonzero": mean_nonzero,
    "mean": mean,
    "sum_per_anchor": sum_per_anchor,
    "per_anchor": per_anchor,
    "per_class": per_class,
}
"""Reductions of the terms of pairs, by name.

Functions of the terms `(n, r)`, none of which is negative, of the mask `(n, r)` of the pairs they
belong to, outside of which they are 0, and of the `Pairs`. They return a scalar, 0 if there is no
pair. Negatives count as often as `Pairs.negative_counts` says.
"""

ANCHOR_REDUCTIONS: dict[str, Callable] = {
    "per_anchor": mean_per_anchor,
    "per_class": mean_per_class,
}
"""Reductions of losses that are computed from all pairs of an anchor at once.

Functions of values `(n,)` and of the mask of the anchors that count.
"""
