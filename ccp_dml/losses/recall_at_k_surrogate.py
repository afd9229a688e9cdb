"""Recall@k surrogate loss."""

import keras
from keras import ops

from ccp_dml.checks import check_above, check_whole_number
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, mean_where
from ccp_dml.losses.soft_ranks import compute_soft_ranks


@keras.saving.register_keras_serializable("ccp_dml")
class RecallAtKSurrogate(PairwiseLoss):
    """Recall@k surrogate (Patel, Tolias and Matas, CVPR 2022): soft recall at several k.

    The mean, over the anchors with a positive and over k = 1, 2, 4, …, of `1 − mean_P σ((k −
    R)/τ₁)`: the share of the positives that are not among the k nearest. R is a positive's rank
    among positives and negatives, `1 + Σⱼ σ((Sⱼ − S)/τ₂)` over the others, σ the sigmoid and S the
    inner product of normalised vectors. With `negative_counts` R is unbiased, but its sigmoid is
    not.

    As in the paper, recall is a fraction of all positives: if there are more than k, it stays below
    1. (The authors' code divides by at most k, and takes τ₁ = k.) The paper's mixup of similarities
    is not part of the loss.

    The references are the set that is ranked: the other samples of the batch, proxies, or a memory.
    All of them are compared with each other for each anchor: n anchors and r references take
    O(n·r²) memory.

    Args:
        largest_k: The values of k are the powers of 2 up to this one. Defaults to 16, as in the
            paper.
        temperature: τ₁, of the step at k. Defaults to 1, as in the paper.
        rank_temperature: τ₂, of the comparisons that make up a rank. Defaults to 0.01, as in the
            paper.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `largest_k` is not a whole number of at least 1, or a temperature is not
            positive.

    Example:

    >>> loss = RecallAtKSurrogate(largest_k=1, temperature=0.1)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # The positives come second.
    1.0
    """

    def __init__(
        self,
        largest_k: int = 16,
        temperature: float = 1.0,
        rank_temperature: float = 0.01,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_above("temperature", temperature, 0)
        check_above("rank_temperature", rank_temperature, 0)
        self.largest_k = check_whole_number("largest_k", largest_k, least=1)
        self.temperature = temperature
        self.rank_temperature = rank_temperature

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        positives = ops.cast(pairs.positives, similarities.dtype)
        negatives = pairs.weigh_negatives(ops.cast(pairs.negatives, similarities.dtype))
        lists = (positives + negatives)[..., None]
        ranks = compute_soft_ranks(similarities, lists, self.rank_temperature)
        ks = 2.0 ** ops.arange(self.largest_k.bit_length(), dtype=ranks.dtype)
        hits = ops.mean(ops.sigmoid((ks - ranks) / self.temperature), axis=2)
        counts = ops.sum(positives, axis=1)
        recalls = ops.sum(positives * hits, axis=1) / ops.maximum(counts, 1.0)
        return mean_where(1.0 - recalls, counts > 0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "largest_k": self.largest_k,
            "temperature": self.temperature,
            "rank_temperature": self.rank_temperature,
        }
