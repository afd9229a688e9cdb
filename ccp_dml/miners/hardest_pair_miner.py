"""Chooses the hardest pairs."""

import keras
from keras import ops

from ccp_dml.miners.miner import Miner

_FAR = 1e30


@keras.saving.register_keras_serializable("ccp_dml")
class HardestPairMiner(Miner):
    """Chooses each anchor's farthest positive and nearest negative (Hermans et al., 2017).

    If several samples are equally far or equally near, all of them are chosen.

    Call arguments:
        See `Miner`.

    Example:

    >>> distances = np.array([[0.0, 0.2, 0.3, 0.1, 0.5]])
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> miner = HardestPairMiner()
    >>> miner(distances, labels[None] == 0, labels[None] == 1, dimension=2, seed=0)[0].numpy()
    array([[False, False,  True, False, False]])
    """

    def __call__(self, distances, positives, negatives, dimension, seed):
        farthest = ops.max(ops.where(positives, distances, -_FAR), axis=1, keepdims=True)
        nearest = ops.min(ops.where(negatives, distances, _FAR), axis=1, keepdims=True)
        return (
            ops.logical_and(positives, distances >= farthest),
            ops.logical_and(negatives, distances <= nearest),
        )
