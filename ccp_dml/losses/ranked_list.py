"""Ranked list loss."""

import keras
from keras import ops

from ccp_dml.checks import check_at_least, check_at_most
from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import PairwiseLoss, log_sum_exp


@keras.saving.register_keras_serializable("ccp_dml")
class RankedList(PairwiseLoss):
    """Ranked list loss (Wang et al., CVPR 2019): positives within, negatives beyond a margin.

    The mean over the anchors of `(1 − λ)·L_P + λ·L_N`. L_P is the mean of `D − (α − m)` over the
    positives farther than α − m, L_N that of `α − D` over the negatives nearer than α, weighted by
    `e^{T(α − D)}`; an empty mean is 0. D is the Euclidean distance. No gradient flows through the
    weights, as in the authors' code (in pytorch-metric-learning it does, so that with T above 0
    values agree and gradients do not). With `negative_counts` L_N is a ratio of two unbiased sums.

    It is defined among the samples of a batch; against references, such as proxies, these are the
    lists that are ranked.

    Args:
        alpha: α, the distance that negatives are pushed to. Defaults to 1.2, as in the paper.
        margin: m, between positives and negatives. Defaults to 0.4, as in the paper.
        temperature: T, a factor: 0 weights all negatives alike. Defaults to 10, as in the paper.
        balance: λ, the share of the negatives. Defaults to 0.5: both alike.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is negative or `balance` is not from 0 to 1.

    Example:

    >>> loss = RankedList(alpha=1.0, margin=0.5)
    >>> embeddings = np.array([[0.0], [0.75], [1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # (.25, 0), (.25, .75), (0, .75)
    0.3333
    """

    def __init__(
        self,
        alpha: float = 1.2,
        margin: float = 0.4,
        temperature: float = 10.0,
        balance: float = 0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_at_least("temperature", temperature, 0)
        check_at_least("balance", balance, 0)
        check_at_most("balance", balance, 1)
        self.alpha = alpha
        self.margin = margin
        self.temperature = temperature
        self.balance = balance

    def labeled_loss(self, embeddings, references, pairs, seed):
        distances = euclidean_distances(embeddings, references)
        excess = distances - (self.alpha - self.margin)
        is_far = ops.logical_and(pairs.positives, excess > 0.0)
        counts = ops.sum(ops.cast(is_far, distances.dtype), axis=1)
        pull = ops.sum(ops.where(is_far, excess, 0.0), axis=1) / ops.maximum(counts, 1.0)

        lack = self.alpha - distances
        is_near = ops.logical_and(pairs.negatives, lack > 0.0)
        logits = pairs.weigh_negative_logits(self.temperature * lack)
        logits = ops.where(is_near, logits, -1e30)
        weights = ops.exp(logits - log_sum_exp(logits, is_near)[:, None])
        weights = ops.stop_gradient(ops.where(is_near, weights, 0.0))
        push = ops.sum(weights * lack, axis=1)

        losses = (1.0 - self.balance) * pull + self.balance * push
        anchors = ops.maximum(ops.cast(ops.shape(losses)[0], losses.dtype), 1.0)
        return ops.sum(losses) / anchors

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "margin": self.margin,
            "temperature": self.temperature,
            "balance": self.balance,
        }
