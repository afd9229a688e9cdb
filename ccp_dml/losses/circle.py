"""Circle loss."""

import keras
from keras import ops

from ccp_dml.checks import check_above, check_one_of
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_sum_exp
from ccp_dml.losses.reductions import ANCHOR_REDUCTIONS


@keras.saving.register_keras_serializable("ccp_dml")
class Circle(PairwiseLoss):
    """Circle loss (Sun et al., CVPR 2020): pairs weighted by how far they are from their optimum.

    The mean, over the anchors with a positive and a negative, of `log(1 + Σ_N e^{γ·a_N(S_N − m)} ·
    Σ_P e^{−γ·a_P(S_P − 1 + m)})` with the weights `a_N = (S_N + m)₊` and `a_P = (1 + m − S_P)₊`,
    through which no gradient flows, as in the paper; S is the inner product of normalised vectors.
    With `negative_counts` the sum over N is unbiased, but its logarithm is too small on average.

    It is defined among the samples of a batch; against references, such as proxies, these are the
    positives and negatives of the samples.

    Args:
        margin: m, the relaxation factor. Defaults to 0.4, as in the paper for fine-grained
            retrieval.
        gamma: γ, the scale. Defaults to 80, likewise.
        reduction: How the values of the anchors are combined, a key of `ANCHOR_REDUCTIONS`:
            `"per_anchor"` (default), their mean; or `"per_class"`, the mean over the classes of the
            mean of each, so that every class counts the same, however many anchors it has.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `gamma` is not positive, or `reduction` is unknown.

    Example:

    >>> loss = Circle(margin=0.5, gamma=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # log(1 + e^-0.25 e^-0.25)
    0.4741
    """

    def __init__(
        self, margin: float = 0.4, gamma: float = 80.0, reduction: str = "per_anchor", **kwargs
    ):
        super().__init__(**kwargs)
        check_above("gamma", gamma, 0)
        check_one_of("reduction", reduction, ANCHOR_REDUCTIONS)
        self.margin = margin
        self.gamma = gamma
        self.reduction = reduction

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        pull_weights = ops.stop_gradient(ops.relu(1.0 + self.margin - similarities))
        push_weights = ops.stop_gradient(ops.relu(similarities + self.margin))
        pull_logits = -self.gamma * pull_weights * (similarities - (1.0 - self.margin))
        push_logits = self.gamma * push_weights * (similarities - self.margin)
        pull = log_sum_exp(pull_logits, pairs.positives)
        push = log_sum_exp(pairs.weigh_negative_logits(push_logits), pairs.negatives)
        has_both = ops.logical_and(
            ops.any(pairs.positives, axis=1), ops.any(pairs.negatives, axis=1)
        )
        return ANCHOR_REDUCTIONS[self.reduction](ops.softplus(pull + push), has_both, pairs)

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "gamma": self.gamma,
            "reduction": self.reduction,
        }
