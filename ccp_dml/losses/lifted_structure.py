"""Lifted structured loss."""

import keras
from keras import ops

from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import PairwiseLoss, log_sum_exp, mean_where


@keras.saving.register_keras_serializable("ccp_dml")
class LiftedStructure(PairwiseLoss):
    """Lifted structured loss (Oh Song et al., CVPR 2016): the negatives of both ends of a pair.

    Half of the mean over the positive pairs (i, j) of `(log(Σₖ e^{α − Dᵢₖ} + Σₗ e^{α − Dₗⱼ}) +
    Dᵢⱼ)₊²`, k the negatives of i and l those of j; D is the Euclidean distance of normalised
    vectors (the paper's vectors are not normalised).

    It is defined among the samples of a batch. Against references, such as proxies, j is a
    reference and its negatives l are the samples of other classes; with the samples themselves as
    references that is the same, except for pairs of a sample with itself. With `negative_counts`
    the sum over k is unbiased, but its logarithm is too small on average.

    Args:
        alpha: α, the margin. Defaults to 1, as in the authors' code.
        **kwargs: See `PairwiseLoss`.

    Example:

    >>> loss = LiftedStructure(alpha=1.0)
    >>> embeddings = np.array([[0.0], [0.5], [1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # (log(1 + e^0.5) + 0.5)² / 2
    1.0865
    """

    def __init__(self, alpha: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha

    def labeled_loss(self, embeddings, references, pairs, seed):
        distances = euclidean_distances(embeddings, references)
        push = self.alpha - distances
        anchor_sums = log_sum_exp(pairs.weigh_negative_logits(push), pairs.negatives)
        positive_sums = log_sum_exp(ops.transpose(push), ops.transpose(pairs.negatives))
        lifted = ops.logaddexp(anchor_sums[:, None], positive_sums[None, :]) + distances
        return 0.5 * mean_where(ops.square(ops.relu(lifted)), pairs.positives)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
