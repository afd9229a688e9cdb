"""Draws negatives evenly over distances."""

import keras
from keras import ops

from ccp_dml.miners.miner import Miner
from ccp_dml.randomness import uniform

_FAR = 1e30


@keras.saving.register_keras_serializable("ccp_dml")
class DistanceWeightedMiner(Miner):
    """Draws as many negatives as positives, evenly over distances (Wu et al., ICCV 2017).

    Distances between random points of the unit sphere in d dimensions have the density `q(D) ∝
    D^{d−2} (1 − D²/4)^{(d−3)/2}`. An anchor's negatives are drawn without replacement, with
    probabilities in proportion to `1/q(max(D, cutoff))`, as many as it has positives; all positives
    stay. Negatives beyond `farthest` are not drawn, as the margin loss is zero there.

    Args:
        cutoff: Nearer negatives are drawn as if they were at this distance, so that noisy ones do
            not dominate. Defaults to 0.5.
        farthest: The largest distance that is drawn, up to 2. Defaults to 1.4.

    Call arguments:
        See `Miner`.

    Raises:
        ValueError: If not `0 < cutoff < farthest < 2`.

    Example:

    >>> distances = np.array([[0.0, 0.2, 0.6, 1.9]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> miner = DistanceWeightedMiner()
    >>> miner(distances, labels[None] == 0, labels[None] == 1, dimension=2, seed=0)[1].numpy()
    array([[False, False,  True, False]])
    """

    def __init__(self, cutoff: float = 0.5, farthest: float = 1.4):
        if not 0 < cutoff < farthest < 2:
            raise ValueError(
                f"0 < cutoff < farthest < 2 must hold; got cutoff {cutoff}, farthest {farthest}"
            )
        self.cutoff = cutoff
        self.farthest = farthest

    def __call__(self, distances, positives, negatives, dimension, seed):
        near = ops.logical_and(negatives, distances <= self.farthest)
        clipped = ops.clip(distances, self.cutoff, self.farthest)
        log_density = (dimension - 2.0) * ops.log(clipped)
        log_density += 0.5 * (dimension - 3.0) * ops.log(1.0 - 0.25 * ops.square(clipped))
        # The k largest of log-weights plus Gumbel noise are k draws without replacement: no weight
        # has to be exponentiated.
        draws = uniform(ops.shape(distances), seed, 3)
        noise = -ops.log(-ops.log(ops.clip(draws, 1e-7, 1.0 - 1e-7)))
        scores = ops.where(near, ops.cast(noise, distances.dtype) - log_density, -_FAR)
        ranks = ops.argsort(ops.argsort(-scores, axis=1), axis=1)
        num_positives = ops.sum(ops.cast(positives, ranks.dtype), axis=1, keepdims=True)
        return positives, ops.logical_and(near, ranks < num_positives)

    def get_config(self):
        return {"cutoff": self.cutoff, "farthest": self.farthest}
