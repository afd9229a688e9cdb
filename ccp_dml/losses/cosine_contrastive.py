"""Contrastive loss on cosine similarity (C1)."""

import keras
from keras import ops

from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss

# Positives whose similarity is 1 up to rounding do not count.
_TOLERANCE = 1e-5


@keras.saving.register_keras_serializable("ccp_dml")
class CosineContrastive(PairwiseLoss):
    """Contrastive loss on the inner product of normalised vectors, C1 in the CCP paper.

    `(1 − S − 1e-5)₊` summed over the positive pairs plus `(S − m)₊` summed over the negative pairs,
    divided by the number of anchors. With `negative_counts` it is unbiased.

    Args:
        margin: m, the similarity from which negatives are pushed. Defaults to 0.5.
        **kwargs: See `PairwiseLoss`.

    Example:

    >>> loss = CosineContrastive(margin=0.5)
    >>> embeddings = np.array([[1.0, 0.0], [0.8, 0.6]], "float32")
    >>> round(float(loss(np.array([0, 1]), embeddings)), 4)
    0.3
    """

    def __init__(self, margin: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        pull = ops.where(pairs.positives, ops.relu(1.0 - similarities - _TOLERANCE), 0.0)
        push = ops.where(pairs.negatives, ops.relu(similarities - self.margin), 0.0)
        anchors = ops.maximum(ops.cast(ops.shape(similarities)[0], similarities.dtype), 1.0)
        return (ops.sum(pull) + ops.sum(pairs.weigh_negatives(push))) / anchors

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
