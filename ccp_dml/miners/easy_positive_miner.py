"""Chooses the easiest positives."""

import keras
from keras import ops

from ccp_dml.miners.miner import Miner

_FAR = 1e30


@keras.saving.register_keras_serializable("ccp_dml")
class EasyPositiveMiner(Miner):
    """Chooses each anchor's nearest positive and a near negative (Xuan et al., WACV 2020).

    A class can then keep several modes, because no anchor is pulled towards distant samples of its
    class. If several samples are equally near, all of them are chosen.

    Args:
        semi_hard: Whether the negative is the nearest of those that are farther than the positive,
            the paper's EPSHN; an anchor without any gets no negative. Otherwise it is the nearest
            of all, EPHN. Defaults to `True`.

    Call arguments:
        See `Miner`.

    Example:

    >>> distances = np.array([[0.2, 0.3, 0.1, 0.5]])
    >>> positives = np.array([[True, True, False, False]])
    >>> for mask in EasyPositiveMiner()(distances, positives, ~positives, dimension=2, seed=0):
    ...     print(mask.numpy())
    [[ True False False False]]
    [[False False False  True]]
    """

    def __init__(self, semi_hard: bool = True):
        self.semi_hard = bool(semi_hard)

    def __call__(self, distances, positives, negatives, dimension, seed):
        nearest = ops.min(ops.where(positives, distances, _FAR), axis=1, keepdims=True)
        candidates = negatives
        if self.semi_hard:
            candidates = ops.logical_and(negatives, distances > nearest)
        near = ops.min(ops.where(candidates, distances, _FAR), axis=1, keepdims=True)
        return (
            ops.logical_and(positives, distances <= nearest),
            ops.logical_and(candidates, distances <= near),
        )

    def get_config(self):
        return {"semi_hard": self.semi_hard}
