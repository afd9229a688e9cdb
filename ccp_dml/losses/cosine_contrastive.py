"""Contrastive loss on cosine similarity (C1)."""

import keras
from keras import ops

from ccp_dml.checks import check_one_of
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.reductions import REDUCTIONS

# Positives whose similarity is 1 up to rounding do not count.
_TOLERANCE = 1e-5


@keras.saving.register_keras_serializable("ccp_dml")
class CosineContrastive(PairwiseLoss):
    """Contrastive loss on the inner product of normalised vectors, C1 in the CCP paper.

    `(1 − S − 1e-5)₊` summed over the positive pairs plus `(S − m)₊` summed over the negative pairs,
    divided by the number of anchors. With `negative_counts` it is unbiased.

    Args:
        margin: m, the similarity above which negatives are pushed away. Defaults to 0.5.
        reduction: How the terms of the positive pairs, and those of the negative pairs, are
            combined; see `Contrastive`. Defaults to `"sum_per_anchor"`.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `reduction` is unknown.

    Example:

    >>> loss = CosineContrastive(margin=0.5)
    >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6]], "float32")
    >>> round(float(loss(np.array([0, 1]), embeddings)), 4)
    0.3
    """

    def __init__(self, margin: float = 0.5, reduction: str = "sum_per_anchor", **kwargs):
        super().__init__(**kwargs)
        check_one_of("reduction", reduction, REDUCTIONS)
        self.margin = margin
        self.reduction = reduction

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        pull = ops.where(pairs.positives, ops.relu(1.0 - similarities - _TOLERANCE), 0.0)
        push = ops.where(pairs.negatives, ops.relu(similarities - self.margin), 0.0)
        reduce = REDUCTIONS[self.reduction]
        return reduce(pull, pairs.positives, pairs) + reduce(push, pairs.negatives, pairs)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "reduction": self.reduction}
