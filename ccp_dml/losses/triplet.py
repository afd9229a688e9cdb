"""Triplet loss over all triplets."""

import keras
from keras import ops

from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import Pairs, PairwiseLoss

# From so many references on, anchors with at most so many positives are not worth sorting for.
_MANY_REFERENCES, _FEW_POSITIVES = 1024, 32


def mean_over_violated_triplets(distances, pairs: Pairs, margin):
    """The mean of the hinges `(Dᵢⱼ − Dᵢₖ + m)₊` above zero, over all positives j and negatives k.

    With few positives among many references, such as proxies, it goes over the references once for
    each positive of an anchor; otherwise it sorts them.

    Args:
        distances: `(n, r)`.
        pairs: The pairs that they are the distances of.
        margin: m.

    Returns:
        A scalar; 0 when no triplet is violated.
    """
    if distances.shape[1] is None or distances.shape[1] < _MANY_REFERENCES:
        return _mean_by_sorting(distances, pairs, margin)
    most = ops.max(ops.sum(ops.cast(pairs.positives, "int32"), axis=1))
    return ops.cond(
        most <= _FEW_POSITIVES,
        lambda: _mean_by_positives(distances, pairs, margin),
        lambda: _mean_by_sorting(distances, pairs, margin),
    )


def _mean_by_positives(distances, pairs, margin):
    """Takes the positives of all anchors one after another, the farthest first, equal ones at once.

    The gradient is made on the way: with every hinge above zero, a positive's distance counts once
    up and a negative's once down.
    """
    dtype = distances.dtype
    none_left = -1.0
    negative_weights = pairs.weigh_negatives(ops.cast(pairs.negatives, dtype))

    def take_farthest(left, total, count, slopes):
        farthest = ops.max(left, axis=1, keepdims=True)
        is_farthest = ops.logical_and(left == farthest, left > none_left)
        times = ops.sum(ops.cast(is_farthest, dtype), axis=1, keepdims=True)
        hinges = farthest + margin - distances
        violated = ops.where(hinges > 0.0, times * negative_weights, 0.0)
        counts = ops.sum(violated, axis=1, keepdims=True)
        return (
            ops.where(is_farthest, none_left, left),
            total + ops.sum(violated * hinges),
            count + ops.sum(counts),
            slopes + ops.where(is_farthest, counts / ops.maximum(times, 1.0), -violated),
        )

    @ops.custom_gradient
    def compute(distances):
        left = ops.where(pairs.positives, distances, none_left)
        # Not 0 where a distance is not finite: then the loss must not be either.
        total = 0.0 * ops.sum(distances)
        _, total, count, slopes = ops.while_loop(
            lambda left, *_: ops.any(left > none_left),
            take_farthest,
            (left, total, ops.zeros_like(total), ops.zeros_like(distances)),
        )
        count = ops.maximum(count, 1.0)
        return total / count, lambda upstream: upstream / count * slopes

    return compute(distances)


def _mean_by_sorting(distances, pairs, margin):
    """Sorts the positives' `x = Dᵢⱼ + m` together with the negatives' distances.

    A positive is violated by the negatives below x, and the sum of its hinges is x times their
    number minus their sum. Both are running sums, so that r references take O(r log r) time and
    O(r) memory an anchor instead of the O(r²) of writing all triplets down.
    """
    dtype = distances.dtype
    nothing = ops.zeros_like(distances)
    # Sorting is stable and the positives stand first, so that a negative at exactly x, whose hinge
    # is zero, comes after x and is not counted.
    values = ops.concatenate([distances + margin, distances], axis=1)
    is_positive = ops.concatenate([ops.cast(pairs.positives, dtype), nothing], axis=1)
    negatives = pairs.weigh_negatives(ops.cast(pairs.negatives, dtype))
    is_negative = ops.concatenate([nothing, negatives], axis=1)
    order = ops.argsort(ops.stop_gradient(values), axis=1)
    values, is_positive, is_negative = (
        ops.take_along_axis(rows, order, axis=1) for rows in (values, is_positive, is_negative)
    )
    negatives_below = ops.cumsum(is_negative, axis=1)
    their_sum = ops.cumsum(is_negative * values, axis=1)
    total = ops.sum(is_positive * (values * negatives_below - their_sum))
    count = ops.sum(is_positive * negatives_below)
    return total / ops.maximum(count, 1.0)


@keras.saving.register_keras_serializable("ccp_dml")
class Triplet(PairwiseLoss):
    """Triplet loss: the mean over the non-zero `(Dᵢⱼ − Dᵢₖ + m)₊` of all triplets.

    Every anchor i with every positive j and every negative k counts; D is the Euclidean distance.
    With `negative_counts` it is a ratio of two unbiased sums.

    Args:
        margin: m. Defaults to 0.0961 (the CCP paper's value on CUB).
        **kwargs: See `PairwiseLoss`.

    Example:

    >>> loss = Triplet(margin=0.1)
    >>> embeddings = np.array([[0.0], [0.5], [0.2]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)
    0.35
    """

    def __init__(self, margin: float = 0.0961, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def labeled_loss(self, embeddings, references, pairs, seed):
        distances = euclidean_distances(embeddings, references)
        return mean_over_violated_triplets(distances, pairs, self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
