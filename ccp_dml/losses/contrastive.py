"""Contrastive loss with a positive margin (C2)."""

import keras
from keras import ops

from ccp_dml.checks import check_one_of
from ccp_dml.losses.distances import DISTANCES
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.reductions import REDUCTIONS


@keras.saving.register_keras_serializable("ccp_dml")
class Contrastive(PairwiseLoss):
    """Contrastive loss with a positive margin, C2 in the CCP paper.

    The mean over the non-zero terms of `(D − m⁺)₊` of the positive pairs plus that of `(m⁻ − D)₊`
    of the negative pairs, D the Euclidean distance unless another is chosen. With `negative_counts`
    the second is a ratio of two unbiased sums.

    Args:
        positive_margin: m⁺, the distance beyond which positives are pulled closer. Defaults to 0.
        negative_margin: m⁻, the distance up to which negatives are pushed away. Defaults to 0.3841
            (the paper's value on CUB).
        distance: D, a key of `DISTANCES`: `"euclidean"` (default), `"squared_euclidean"` or
            `"cosine"`, 1 − cos.
        reduction: How the terms of the positive pairs, and those of the negative pairs, are
            combined, a key of `REDUCTIONS`: `"mean_nonzero"` (default), their sum divided by the
            number of those above zero; `"mean"`, by the number of pairs; `"sum_per_anchor"`, by the
            number of anchors; `"per_anchor"`, the mean over the anchors of the mean over each one's
            pairs; or `"per_class"`, the same averaged over the anchors of each class first.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `distance` or `reduction` is unknown.

    Example:

    >>> loss = Contrastive(positive_margin=0.0, negative_margin=0.5)
    >>> embeddings = np.array([[0.0, 0.0], [0.3, 0.4], [0.6, 0.8]], "float32")
    >>> float(loss(np.array([0, 0, 1]), embeddings))
    0.5
    """

    def __init__(
        self,
        positive_margin: float = 0.0,
        negative_margin: float = 0.3841,
        distance: str = "euclidean",
        reduction: str = "mean_nonzero",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_one_of("distance", distance, DISTANCES)
        check_one_of("reduction", reduction, REDUCTIONS)
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.distance = distance
        self.reduction = reduction

    def labeled_loss(self, embeddings, references, pairs, seed):
        distances = DISTANCES[self.distance](embeddings, references)
        pull = ops.where(pairs.positives, ops.relu(distances - self.positive_margin), 0.0)
        push = ops.where(pairs.negatives, ops.relu(self.negative_margin - distances), 0.0)
        reduce = REDUCTIONS[self.reduction]
        return reduce(pull, pairs.positives, pairs) + reduce(push, pairs.negatives, pairs)

    def get_config(self):
        return {
            **super().get_config(),
            "positive_margin": self.positive_margin,
            "negative_margin": self.negative_margin,
            "distance": self.distance,
            "reduction": self.reduction,
        }
