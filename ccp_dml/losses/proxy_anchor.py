"""Proxy anchor loss."""

import keras
from keras import ops

from ccp_dml.checks import check_above
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_one_plus_sum_exp, mean_where


@keras.saving.register_keras_serializable("ccp_dml")
class ProxyAnchor(PairwiseLoss):
    """Proxy anchor loss (Kim et al., CVPR 2020): the references are the anchors.

    The mean of `log(1 + Σ_P e^{−α(S − δ)})` over the references with a positive sample, plus that
    of `log(1 + Σ_N e^{α(S + δ)})` over the references with a negative one; P and N are a
    reference's positive and negative samples, S the inner product of normalised vectors.

    The second mean is over the references that are a negative of some sample. The paper divides by
    the number C of all proxies. The two differ only for a batch of a single class, whose proxy is
    nobody's negative, so that the divisor here is C − 1.

    The paper uses one proxy per class. With several, each of them is an anchor; within a batch,
    without references, every sample is an anchor for the others. With `negative_counts` it is
    unbiased.

    Args:
        margin: δ. Defaults to 0.1.
        alpha: α, the scale of the similarities. Defaults to 32.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `alpha` is not positive.

    Example:

    >>> loss = ProxyAnchor(margin=0.1, alpha=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)
    1.0856
    """

    def __init__(self, margin: float = 0.1, alpha: float = 32.0, **kwargs):
        super().__init__(**kwargs)
        check_above("alpha", alpha, 0)
        self.margin = margin
        self.alpha = alpha

    @property
    def is_proxy_loss(self):
        return True

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(references, embeddings)
        positives, negatives = ops.transpose(pairs.positives), ops.transpose(pairs.negatives)
        pull = log_one_plus_sum_exp(-self.alpha * (similarities - self.margin), positives)
        push = log_one_plus_sum_exp(self.alpha * (similarities + self.margin), negatives)
        with_positive, with_negative = ops.any(positives, axis=1), ops.any(negatives, axis=1)
        counts = pairs.negative_counts

        def weigh(terms):
            return terms if counts is None else terms * ops.cast(counts, terms.dtype)

        return mean_where(pull, with_positive) + mean_where(push, with_negative, weigh)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "alpha": self.alpha}
