"""Margin loss with a learnable boundary for each class."""

import keras
import numpy as np
from keras import ops

from ccp_dml.checks import check_one_of
from ccp_dml.losses.distances import DISTANCES
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.reductions import REDUCTIONS


@keras.saving.register_keras_serializable("ccp_dml")
class Margin(PairwiseLoss):
    """Margin loss (Wu et al., ICCV 2017): positives within, negatives beyond a boundary β.

    The mean of the non-zero terms among `(α + D − β)₊` for positive and `(α − D + β)₊` for negative
    pairs, plus `ν·β` averaged over the anchors; D is the Euclidean distance unless another is
    chosen, and β the boundary of the anchor's class. There is one mean over both kinds, as the
    paper has one sum; with its distance-weighted sampling (`Mined(Margin(), "distance_weighted")`)
    there are equally many of both. The paper adds `ν·Σβ` to sums of pairs; here both are means, so
    that ν does not depend on the size of the batch. With `negative_counts` the mean is a ratio of
    two unbiased sums.

    The boundaries are learned if the caller makes a variable from `initial_weights(num_classes)`
    and passes it as `boundaries`.

    Args:
        alpha: α, the half-width of the margin. Defaults to 0.2.
        beta: β at the start, or throughout when no `boundaries` are passed. Defaults to 1.2.
        nu: ν, the weight of the boundaries in the loss, which favours small boundaries. Defaults to
            0.
        distance: D, a key of `DISTANCES`: `"euclidean"` (default), `"squared_euclidean"` or
            `"cosine"`, 1 − cos.
        reduction: How the terms of all pairs together are combined; see `Contrastive`. Defaults to
            `"mean_nonzero"`.
        **kwargs: See `PairwiseLoss`.

    Call arguments:
        boundaries: β of each class `(C,)`, optional; the labels are then 0…C − 1. All other
            arguments are those of `PairwiseLoss`.

    Raises:
        ValueError: If `distance` or `reduction` is unknown.

    Example:

    >>> embeddings, labels = np.array([[0.0], [0.5], [0.75]], "float32"), np.array([0, 0, 1])
    >>> Margin(alpha=0.25, beta=0.5)(labels, embeddings).numpy() # D: .5; .75 and .25
    np.float32(0.375)
    >>> Margin(alpha=0.25)(labels, embeddings, boundaries=np.array([0.5, 0.25])).numpy()
    np.float32(0.3125)
    """

    def __init__(
        self,
        alpha: float = 0.2,
        beta: float = 1.2,
        nu: float = 0.0,
        distance: str = "euclidean",
        reduction: str = "mean_nonzero",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_one_of("distance", distance, DISTANCES)
        check_one_of("reduction", reduction, REDUCTIONS)
        self.alpha = alpha
        self.beta = beta
        self.nu = nu
        self.distance = distance
        self.reduction = reduction

    def initial_weights(self, num_classes):
        return {"boundaries": np.full(num_classes, self.beta, "float32")}

    def labeled_loss(self, embeddings, references, pairs, seed, boundaries=None):
        distances = DISTANCES[self.distance](embeddings, references)
        if boundaries is None:
            beta = ops.full((ops.shape(distances)[0], 1), self.beta, dtype=distances.dtype)
        else:
            classes = ops.cast(pairs.class_numbers("Margin with boundaries"), "int32")
            beta = ops.take(ops.cast(boundaries, distances.dtype), classes)[:, None]
        pull = ops.where(pairs.positives, ops.relu(self.alpha + distances - beta), 0.0)
        push = ops.where(pairs.negatives, ops.relu(self.alpha - distances + beta), 0.0)
        anchors = ops.maximum(ops.cast(ops.shape(beta)[0], beta.dtype), 1.0)
        # No pair is both positive and negative, so that the sum has the terms of both kinds.
        is_pair = ops.logical_or(pairs.positives, pairs.negatives)
        reduced = REDUCTIONS[self.reduction](pull + push, is_pair, pairs)
        return reduced + self.nu * ops.sum(beta) / anchors

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "nu": self.nu,
            "distance": self.distance,
            "reduction": self.reduction,
        }
