"""Triplet loss over all triplets."""

import keras
from keras import ops

from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import Pairs, PairwiseLoss


def mean_over_violated_triplets(distances, pairs: Pairs, margin):
    """The mean of the hinges `(Dᵢⱼ − Dᵢₖ + m)₊` above zero, over all positives j and negatives k.

    For one anchor, a positive at `x = Dᵢⱼ + m` is violated by the negatives below x, and the sum of
    its hinges is x times their number minus their sum. Sorting the positives' x together with the
    negatives' distances gives both as running sums, so that r references take O(r log r) time and
    O(r) memory an anchor instead of the O(r²) of writing all triplets down.

    Args:
        distances: `(n, r)`.
        pairs: The pairs that they are the distances of.
        margin: m.

    Returns:
        A scalar; 0 when no triplet is violated.
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
