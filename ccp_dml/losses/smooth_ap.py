"""Smooth-AP: average precision of soft ranks."""

import keras
from keras import ops

from ccp_dml.checks import check_above
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, mean_where
from ccp_dml.losses.soft_ranks import compute_soft_ranks


@keras.saving.register_keras_serializable("ccp_dml")
class SmoothAP(PairwiseLoss):
    """Smooth-AP (Brown et al., ECCV 2020): one minus the average precision of soft ranks.

    The mean, over the anchors with a positive, of `1 − mean_P(R⁺/R)`. R⁺ is a positive's rank among
    the positives and R that among positives and negatives, each `1 + Σⱼ σ((Sⱼ − S)/τ)` over the
    others, σ the sigmoid and S the inner product of normalised vectors. With `negative_counts` R is
    unbiased, but R⁺/R is not.

    The references are the set that is ranked: the other samples of the batch, proxies, or a memory.
    All of them are compared with each other for each anchor: n anchors and r references take
    O(n·r²) memory. The authors' code, and pytorch-metric-learning, also count a sample as the first
    of its own positives, and thus find smaller values; that is this loss against the batch as
    `references`.

    Args:
        temperature: τ. Defaults to 0.01, as in the paper.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive.

    Example:

    >>> loss = SmoothAP()
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # The positives come second.
    0.5
    """

    def __init__(self, temperature: float = 0.01, **kwargs):
        super().__init__(**kwargs)
        check_above("temperature", temperature, 0)
        self.temperature = temperature

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        positives = ops.cast(pairs.positives, similarities.dtype)
        negatives = pairs.weigh_negatives(ops.cast(pairs.negatives, similarities.dtype))
        lists = ops.stack([positives, positives + negatives], axis=2)
        ranks = compute_soft_ranks(similarities, lists, self.temperature)
        precisions = ops.sum(positives * ranks[..., 0] / ranks[..., 1], axis=1)
        counts = ops.sum(positives, axis=1)
        return mean_where(1.0 - precisions / ops.maximum(counts, 1.0), counts > 0.0)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
