"""Angular loss."""

import math

import keras
from keras import ops

from ccp_dml.checks import check_above, check_at_most
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, mean_where


@keras.saving.register_keras_serializable("ccp_dml")
class Angular(PairwiseLoss):
    """Angular loss (Wang et al., ICCV 2017): bounds the angle at the negative of a triplet.

    The mean over the positive pairs of `log(1 + Σ_N e^f)`, N the anchor's negatives and `f = 4
    tan²α (a + p)ᵀn − 2(1 + tan²α) aᵀp` for anchor a, positive p and negative n, all normalised.
    With `negative_counts` the sum over N is unbiased, but its logarithm is too small on average.

    It is defined among the samples of a batch; against references, positives and negatives are
    references. Positives are compared with negatives, so that r references take O(r²) memory.

    Args:
        alpha: α, the largest angle at the negative, in degrees as in the paper. Defaults to 45
            (pytorch-metric-learning: 40).
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `alpha` is not above 0 and at most 60. With larger angles the sums leave the
            range of float32; the paper's are from 36 to 55.

    Example:

    >>> loss = Angular(alpha=45)
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # log(1 + e^(0 - 4))
    0.0181
    """

    def __init__(self, alpha: float = 45.0, **kwargs):
        super().__init__(**kwargs)
        check_above("alpha", alpha, 0)
        check_at_most("alpha", alpha, 60)
        self.alpha = alpha

    def labeled_loss(self, embeddings, references, pairs, seed):
        squared_tangent = math.tan(math.radians(self.alpha)) ** 2
        similarities = inner_products(embeddings, references)
        anchor_logits = 4.0 * squared_tangent * similarities
        positive_logits = 4.0 * squared_tangent * inner_products(references, references)
        logits = _log_sum_exp_of_sums(anchor_logits, positive_logits, pairs)
        logits -= 2.0 * (1.0 + squared_tangent) * similarities
        return mean_where(ops.softplus(logits), pairs.positives)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


def _log_sum_exp_of_sums(anchor_logits, positive_logits, pairs):
    """`log Σ_N e^{aᵢₙ + bⱼₙ}` of `(n, r)` and `(r, r)`: `(n, r)`; -1e30 if N is empty.

    The exponential of a sum is a product, and the sum of products a matrix product.
    """
    negative_logits = ops.where(pairs.negatives, anchor_logits, -1e30)
    has_negative = ops.any(pairs.negatives, axis=1, keepdims=True)
    largest = ops.max(negative_logits, axis=1, keepdims=True)
    largest = ops.stop_gradient(ops.where(has_negative, largest, 0.0))
    terms = pairs.weigh_negatives(ops.exp(negative_logits - largest))
    largest_positives = ops.stop_gradient(ops.max(positive_logits, axis=1, keepdims=True))
    sums = inner_products(terms, ops.exp(positive_logits - largest_positives))
    logs = ops.log(ops.where(has_negative, sums, 1.0))
    logs = logs + largest + ops.transpose(largest_positives)
    return ops.where(has_negative, logs, -1e30)
