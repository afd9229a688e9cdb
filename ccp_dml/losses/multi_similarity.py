"""Multi-similarity loss."""

import keras
from keras import ops

from ccp_dml.checks import check_above, check_one_of
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_one_plus_sum_exp
from ccp_dml.losses.reductions import ANCHOR_REDUCTIONS


@keras.saving.register_keras_serializable("ccp_dml")
class MultiSimilarity(PairwiseLoss):
    """Multi-similarity loss (Wang et al., CVPR 2019), without its pair mining.

    The mean over the anchors of `log(1 + Σ_P e^{α(λ − S)})/α + log(1 + Σ_N e^{β(S − λ)})/β`, S the
    inner product of normalised vectors. With `negative_counts` the sum over N is unbiased, but its
    logarithm is too small on average.

    Args:
        alpha: α, the scale of the positives. Defaults to 2.
        beta: β, the scale of the negatives. Defaults to 40.
        base: λ, the similarity that separates easy pairs from hard ones. Defaults to 0.5.
        reduction: How the values of the anchors are combined, a key of `ANCHOR_REDUCTIONS`:
            `"per_anchor"` (default), their mean; or `"per_class"`, the mean over the classes of the
            mean of each, so that every class counts the same, however many anchors it has.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `alpha` or `beta` is not positive, or `reduction` is unknown.

    Example:

    >>> loss = MultiSimilarity(alpha=2.0, beta=40.0, base=0.5)
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)
    0.1044
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 40.0,
        base: float = 0.5,
        reduction: str = "per_anchor",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_above("alpha", alpha, 0)
        check_above("beta", beta, 0)
        check_one_of("reduction", reduction, ANCHOR_REDUCTIONS)
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.reduction = reduction

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        pull_logits = self.alpha * (self.base - similarities)
        push_logits = pairs.weigh_negative_logits(self.beta * (similarities - self.base))
        pull = log_one_plus_sum_exp(pull_logits, pairs.positives) / self.alpha
        push = log_one_plus_sum_exp(push_logits, pairs.negatives) / self.beta
        values = pull + push
        every_anchor = ops.ones_like(values, dtype="bool")
        return ANCHOR_REDUCTIONS[self.reduction](values, every_anchor, pairs)

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "base": self.base,
            "reduction": self.reduction,
        }
