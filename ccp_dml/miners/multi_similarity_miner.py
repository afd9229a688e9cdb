"""Chooses pairs as for the multi-similarity loss."""

import keras
from keras import ops

from ccp_dml.checks import check_at_least
from ccp_dml.miners.miner import Miner

_FAR = 1e30


@keras.saving.register_keras_serializable("ccp_dml")
class MultiSimilarityMiner(Miner):
    """Chooses pairs as for the multi-similarity loss (Wang et al., CVPR 2019).

    A negative is chosen if it is more similar than the anchor's least similar positive minus ε, and
    a positive if it is less similar than its most similar negative plus ε. The similarity is `1 −
    D²/2`, D the Euclidean distance, which for vectors of length one is the inner product. An anchor
    without positives or without negatives gets no pair.

    Args:
        epsilon: ε. Defaults to 0.1.

    Call arguments:
        See `Miner`.

    Raises:
        ValueError: If `epsilon` is negative.

    Example:

    >>> distances = np.array([[0.0, 0.2, 1.0, 0.9, 1.4]])
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> positives, negatives = labels[None] == 0, labels[None] == 1
    >>> positives[0, 0] = False
    >>> miner = MultiSimilarityMiner()
    >>> for mask in miner(distances, positives, negatives, dimension=2, seed=0):
    ...     print(mask.numpy())
    [[False False  True False False]]
    [[False False False  True False]]
    """

    def __init__(self, epsilon: float = 0.1):
        check_at_least("epsilon", epsilon, 0)
        self.epsilon = epsilon

    def __call__(self, distances, positives, negatives, dimension, seed):
        similarities = 1.0 - 0.5 * ops.square(distances)
        least = ops.min(ops.where(positives, similarities, _FAR), axis=1, keepdims=True)
        most = ops.max(ops.where(negatives, similarities, -_FAR), axis=1, keepdims=True)
        return (
            ops.logical_and(positives, similarities - self.epsilon < most),
            ops.logical_and(negatives, similarities + self.epsilon > least),
        )

    def get_config(self):
        return {"epsilon": self.epsilon}
