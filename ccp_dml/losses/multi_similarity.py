"""Multi-similarity loss."""

import keras
from keras import ops

from ccp_dml.checks import check_above
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_one_plus_sum_exp


@keras.saving.register_keras_serializable("ccp_dml")
class MultiSimilarity(PairwiseLoss):
    """Multi-similarity loss (Wang et al., CVPR 2019), without its pair mining.

    The mean over the anchors of `log(1 + Σ_P e^{α(λ − S)})/α + log(1 + Σ_N e^{β(S − λ)})/β`, S the
    inner product of normalised vectors. With `negative_counts` the sum over N is unbiased, its
    logarithm too small on average.

    Args:
        alpha: α, the scale of the positives. Defaults to 2.
        beta: β, the scale of the negatives. Defaults to 40.
        base: λ, the similarity that divides easy from hard. Defaults to 0.5.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `alpha` or `beta` is not positive.

    Example:

    >>> loss = MultiSimilarity(alpha=2.0, beta=40.0, base=0.5)
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)
    0.1044
    """

    def __init__(self, alpha: float = 2.0, beta: float = 40.0, base: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        check_above("alpha", alpha, 0)
        check_above("beta", beta, 0)
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        pull_logits = self.alpha * (self.base - similarities)
        push_logits = pairs.weigh_negative_logits(self.beta * (similarities - self.base))
        pull = log_one_plus_sum_exp(pull_logits, pairs.positives) / self.alpha
        push = log_one_plus_sum_exp(push_logits, pairs.negatives) / self.beta
        anchors = ops.maximum(ops.cast(ops.shape(similarities)[0], similarities.dtype), 1.0)
        return ops.sum(pull + push) / anchors

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "base": self.base,
        }
