"""Multi-level distance regularisation."""

import keras
import numpy as np
from keras import ops

from ccp_dml.checks import check_at_least
from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import PairwiseLoss, mean_where
from ccp_dml.losses.wrapper import LossWrapper

LEVELS = (-3.0, 0.0, 3.0)
# Added to the variance, so that distances that differ only by rounding are not blown up.
_EPSILON = 1e-6


@keras.saving.register_keras_serializable("ccp_dml")
class MultiLevelDistance(LossWrapper):
    """A loss with multi-level distance regularisation (MDR; Kim and Park, AAAI 2021).

    Adds `w · mean min_s |(D − μ)/σ − s|`: the mean over all pairs, positive or negative, of how far
    the normalised distance is from the nearest of several levels s. It keeps a network from pulling
    and pushing all pairs of a kind to one distance. D is the Euclidean distance, μ and σ the mean
    and the deviation of the pairs' distances, through which no gradient flows.

    Two things differ from the paper: μ and σ are those of the current pairs, not running means, so
    that the loss keeps no state; and the distances are those that the wrapped loss takes, of
    normalised vectors, where the paper trains without normalisation (`normalize=False`). As in the
    paper the levels can be learned: make a variable from `initial_weights(num_classes)["levels"]`
    and pass it as `levels`.

    The public code of CCP's authors differs further: the wrapped loss gets embeddings that are not
    normalised but divided by the mean of their distances, through which a gradient flows; μ and σ
    are running means with momentum 0.9 over all n² pairs, those of a sample with itself included;
    the levels are always learned, and 0.01 times the sum of their squares is added; and w is 1 by
    default. With `negative_counts` the means are unbiased, but μ/σ is not.

    Args:
        loss: The `PairwiseLoss` to wrap.
        weight: w. Defaults to 0.1.
        **kwargs: See `LossWrapper`.

    Call arguments:
        levels: The levels s `(num_levels,)`. Defaults to −3, 0 and 3, the paper's initial ones. All
            other arguments are those of the wrapped loss.

    Raises:
        ValueError: If `weight` is negative.

    Example:

    >>> from ccp_dml.losses import Triplet
    >>> loss = MultiLevelDistance(Triplet(margin=0.0), weight=1.0)
    >>> embeddings = np.array([[0.0], [0.25], [1.0]], "float32")  # D: .25, .75, 1
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 2)
    0.89
    """

    def __init__(self, loss: PairwiseLoss, weight: float = 0.1, **kwargs):
        super().__init__(loss, **kwargs)
        check_at_least("weight", weight, 0)
        self.weight = weight

    def initial_weights(self, num_classes):
        return {**super().initial_weights(num_classes), "levels": np.array(LEVELS, "float32")}

    def labeled_loss(self, embeddings, references, pairs, seed, levels=LEVELS, **weights):
        loss = self.loss.labeled_loss(embeddings, references, pairs, seed, **weights)
        is_pair = ops.logical_or(pairs.positives, pairs.negatives)
        distances = euclidean_distances(embeddings, references)
        fixed = ops.stop_gradient(distances)
        weigh = pairs.weigh_negatives
        mean = mean_where(fixed, is_pair, weigh)
        deviation = ops.sqrt(mean_where(ops.square(fixed - mean), is_pair, weigh) + _EPSILON)
        levels = ops.cast(levels, distances.dtype)
        offsets = ops.abs(((distances - mean) / deviation)[:, :, None] - levels)
        return loss + self.weight * mean_where(ops.min(offsets, axis=-1), is_pair, weigh)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
