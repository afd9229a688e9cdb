"""Miners: which of the pairs a loss takes."""

import keras
from keras import ops

from ccp_dml.losses.randomness import uniform

_FAR = 1e30


@keras.saving.register_keras_serializable("ccp_dml")
class Hard:
    """The farthest positive and the nearest negative of each anchor (Hermans et al., 2017).

    Equally far or equally near ones are all taken.

    Call arguments:
        distances: Euclidean distances of anchors and references `(n, r)`.
        positives: Boolean mask `(n, r)`.
        negatives: Boolean mask `(n, r)`.
        dimension: Number of dimensions d of the vectors.
        seed: An integer, for miners that draw random numbers.

    Returns:
        The narrower masks of positives and of negatives.

    Example:

    >>> distances = np.array([[0.0, 0.2, 0.3, 0.1, 0.5]])
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> Hard()(distances, labels[None] == 0, labels[None] == 1, dimension=2, seed=0)[0].numpy()
    array([[False, False,  True, False, False]])
    """

    def __call__(self, distances, positives, negatives, dimension, seed):
        farthest = ops.max(ops.where(positives, distances, -_FAR), axis=1, keepdims=True)
        nearest = ops.min(ops.where(negatives, distances, _FAR), axis=1, keepdims=True)
        return (
            ops.logical_and(positives, distances >= farthest),
            ops.logical_and(negatives, distances <= nearest),
        )

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("ccp_dml")
class SemiHard(Hard):
    """Negatives farther than a positive, but by less than a margin (Schroff et al., CVPR 2015).

    A positive j and a negative k of an anchor i are semi-hard to each other if `Dᵢⱼ < Dᵢₖ <= Dᵢⱼ +
    m`. A pair is taken if the anchor has one that is semi-hard to it. Unlike in FaceNet this
    chooses pairs, for any loss, and not triplets: a triplet loss then takes all triplets of the
    pairs that were taken, of which some can be easy or hard.

    Args:
        margin: m, of Euclidean distances. Defaults to 0.2.

    Call arguments:
        As those of `Hard`.

    Raises:
        ValueError: If `margin` is not positive.

    Example:

    >>> distances = np.array([[0.0, 0.2, 0.3, 0.1, 0.5]])
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> miner = SemiHard(margin=0.25)
    >>> miner(distances, labels[None] == 0, labels[None] == 1, dimension=2, seed=0)[1].numpy()
    array([[False, False, False,  True,  True]])
    """

    def __init__(self, margin: float = 0.2):
        if not margin > 0:
            raise ValueError(f"margin must be above 0; got {margin}")
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


@keras.saving.register_keras_serializable("ccp_dml")
class DistanceWeighted(Hard):
    """Negatives drawn evenly over distances (Wu et al., ICCV 2017), as many as positives.

    Distances between random points of the unit sphere in d dimensions have the density `q(D) ∝
    D^{d−2} (1 − D²/4)^{(d−3)/2}`. An anchor's negatives are drawn without replacement, with
    probabilities in proportion to `1/q(max(D, cutoff))`, as many as it has positives; all positives
    stay. Negatives beyond `farthest` are not drawn, as the margin loss is zero there.

    Args:
        cutoff: Nearer negatives are drawn as if they were at this distance, so that noise is not
            all that is drawn. Defaults to 0.5.
        farthest: The largest distance that is drawn, up to 2. Defaults to 1.4.

    Call arguments:
        As those of `Hard`.

    Raises:
        ValueError: If not `0 < cutoff < farthest < 2`.

    Example:

    >>> distances = np.array([[0.0, 0.2, 0.6, 1.9]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> miner = DistanceWeighted()
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
        # The largest k of log-weights plus Gumbel noise are k draws without replacement: no weight
        # is ever exponentiated.
        draws = uniform(ops.shape(distances), seed, 3)
        noise = -ops.log(-ops.log(ops.clip(draws, 1e-7, 1.0 - 1e-7)))
        scores = ops.where(near, ops.cast(noise, distances.dtype) - log_density, -_FAR)
        ranks = ops.argsort(ops.argsort(-scores, axis=1), axis=1)
        num_positives = ops.sum(ops.cast(positives, ranks.dtype), axis=1, keepdims=True)
        return positives, ops.logical_and(near, ranks < num_positives)

    def get_config(self):
        return {"cutoff": self.cutoff, "farthest": self.farthest}


MINERS: dict[str, type] = {
    "hard": Hard,
    "semi_hard": SemiHard,
    "distance_weighted": DistanceWeighted,
}


def _counts_below(thresholds, values, mask):
    """How many of the masked `values` of a row are below each of its `thresholds`, `(n, r)`."""
    count = ops.shape(values)[1]
    is_counted = ops.concatenate([ops.zeros_like(mask), mask], axis=1)
    # Sorting is stable and the thresholds stand first: values equal to one come after it.
    order = ops.argsort(ops.concatenate([thresholds, values], axis=1), axis=1)
    sorted_mask = ops.take_along_axis(ops.cast(is_counted, "int32"), order, axis=1)
    places = ops.argsort(order, axis=1)[:, :count]
    return ops.take_along_axis(ops.cumsum(sorted_mask, axis=1), places, axis=1)
