"""Chooses semi-hard pairs."""

import keras
from keras import ops

from ccp_dml.checks import check_above
from ccp_dml.miners.miner import Miner


@keras.saving.register_keras_serializable("ccp_dml")
class SemiHardPairMiner(Miner):
    """Chooses negatives farther than a positive by at most a margin (Schroff et al., CVPR 2015).

    A positive j and a negative k of an anchor i are semi-hard to each other if `Dᵢⱼ < Dᵢₖ <= Dᵢⱼ +
    m`. A pair is chosen if the anchor has another one that is semi-hard to it. Unlike
    `SemiHardMiner` this miner chooses pairs, for any loss, and not triplets: a triplet loss then
    sees all triplets of the chosen pairs, some of which can be easy or hard.

    Args:
        margin: m, of Euclidean distances. Defaults to 0.2.

    Call arguments:
        See `Miner`.

    Raises:
        ValueError: If `margin` is not positive.

    Example:

    >>> distances = np.array([[0.0, 0.2, 0.3, 0.1, 0.5]])
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> miner = SemiHardPairMiner(margin=0.25)
    >>> miner(distances, labels[None] == 0, labels[None] == 1, dimension=2, seed=0)[1].numpy()
    array([[False, False, False,  True,  True]])
    """

    def __init__(self, margin: float = 0.2):
        check_above("margin", margin, 0)
        self.margin = margin

    def __call__(self, distances, positives, negatives, dimension, seed):
        margin = self.margin
        nearer_positives = _counts_below(distances, distances, positives)
        too_near_positives = _counts_below(distances - margin, distances, positives)
        farther_negatives = _counts_below(-distances, -distances, negatives)
        too_far_negatives = _counts_below(-distances - margin, -distances, negatives)
        return (
            ops.logical_and(positives, farther_negatives > too_far_negatives),
            ops.logical_and(negatives, nearer_positives > too_near_positives),
        )

    def get_config(self):
        return {"margin": self.margin}


def _counts_below(thresholds, values, mask):
    """Counts how many masked `values` of a row are below each of its `thresholds`, `(n, r)`."""
    count = ops.shape(values)[1]
    is_counted = ops.concatenate([ops.zeros_like(mask), mask], axis=1)
    # Sorting is stable and the thresholds come first: values equal to one come after it.
    order = ops.argsort(ops.concatenate([thresholds, values], axis=1), axis=1)
    sorted_mask = ops.take_along_axis(ops.cast(is_counted, "int32"), order, axis=1)
    places = ops.argsort(order, axis=1)[:, :count]
    return ops.take_along_axis(ops.cumsum(sorted_mask, axis=1), places, axis=1)
