"""Contrastive loss with a positive margin (C2)."""

import keras
from keras import ops

from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import PairwiseLoss, mean_over_nonzero


@keras.saving.register_keras_serializable("ccp_dml")
class Contrastive(PairwiseLoss):
    """Contrastive loss with a positive margin, C2 in the CCP paper.

    The mean over the non-zero terms of `(D − m⁺)₊` of the positive pairs plus that of `(m⁻ − D)₊`
    of the negative pairs, D the Euclidean distance. With `negative_counts` the second is a ratio of
    two unbiased sums.

    Args:
        positive_margin: m⁺, the distance from which positives are pulled. Defaults to 0.
        negative_margin: m⁻, the distance up to which negatives are pushed. Defaults to 0.3841 (the
            paper's value on CUB).
        **kwargs: See `PairwiseLoss`.

    Example:

    >>> loss = Contrastive(positive_margin=0.0, negative_margin=0.5)
    >>> embeddings = np.array([[0.0, 0.0], [0.3, 0.4], [0.6, 0.8]], "float32")
    >>> float(loss(np.array([0, 0, 1]), embeddings))
    0.5
    """

    def __init__(self, positive_margin: float = 0.0, negative_margin: float = 0.3841, **kwargs):
        super().__init__(**kwargs)
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def labeled_loss(self, embeddings, references, pairs, seed):
        distances = euclidean_distances(embeddings, references)
        pull = ops.where(pairs.positives, ops.relu(distances - self.positive_margin), 0.0)
        push = ops.where(pairs.negatives, ops.relu(self.negative_margin - distances), 0.0)
        return mean_over_nonzero(pull) + mean_over_nonzero(push, pairs.weigh_negatives)

    def get_config(self):
        return {
            **super().get_config(),
            "positive_margin": self.positive_margin,
            "negative_margin": self.negative_margin,
        }
