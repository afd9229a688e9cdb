"""SoftTriple loss."""

import keras
from keras import ops

from ccp_dml.checks import check_above
from ccp_dml.losses.class_groups import SeveralProxies
from ccp_dml.losses.distances import euclidean_distances, inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_sum_exp, mean_where


@keras.saving.register_keras_serializable("ccp_dml")
class SoftTriple(SeveralProxies, PairwiseLoss):
    """SoftTriple loss (Qian et al., ICCV 2019): a softmax over classes of several proxies each.

    A sample's similarity to a class is the mean of those to its K proxies, weighted by their
    softmax, `S_c = Σ_k softmax_k(S_k/γ)·S_k`. The loss is the mean over the samples of `−log
    softmax_c(λ(S_c − δ·[c is the sample's class]))` at the sample's class, plus `τ·Σ_{k<l} ‖p_k −
    p_l‖ / (C·K·(K − 1))` over the pairs of proxies of each class, which encourages proxies to
    merge. S is the inner product of normalised vectors. For proxies of unit length `‖p_k − p_l‖` is
    the paper's `√(2 − 2 p_kᵀp_l)`. Samples whose class has no proxy are left out. With
    `negative_counts` the regulariser is unbiased and so is the softmax's sum, but its logarithm is
    too small on average.

    It needs exactly K references of each class. With any other number its value is meaningless,
    which is reported as an error wherever the reference labels are known.

    Args:
        scale: λ. Defaults to 20.
        gamma: γ, the temperature among the proxies of a class. Defaults to 0.1.
        tau: τ, the weight of the regulariser. Defaults to 0.2.
        margin: δ. Defaults to 0.01.
        proxies_per_class: K. Defaults to 10.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `scale`, `gamma` or `proxies_per_class` is not positive, or, when called,
            without references or if there are not `proxies_per_class` references of a class.

    Example:

    >>> loss = SoftTriple(scale=1.0, margin=0.0, proxies_per_class=1)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)
    0.3133
    """

    def __init__(
        self,
        scale: float = 20.0,
        gamma: float = 0.1,
        tau: float = 0.2,
        margin: float = 0.01,
        proxies_per_class: int = 10,
        **kwargs,
    ):
        super().__init__(proxies_per_class=proxies_per_class, **kwargs)
        check_above("scale", scale, 0)
        check_above("gamma", gamma, 0)
        self.scale = scale
        self.gamma = gamma
        self.tau = tau
        self.margin = margin

    def labeled_loss(self, embeddings, references, pairs, seed):
        group = self.group_references(pairs.reference_labels)
        similarities = group(inner_products(embeddings, references))
        positives, negatives = group(pairs.positives), group(pairs.negatives)
        paired = ops.logical_or(positives, negatives)
        exponents = ops.where(paired, similarities / self.gamma, -1e30)
        weights = ops.exp(exponents - ops.logsumexp(exponents, axis=-1, keepdims=True))
        is_own, is_other = ops.any(positives, axis=-1), ops.any(negatives, axis=-1)
        margins = self.margin * ops.cast(is_own, weights.dtype)
        logits = self.scale * (ops.sum(weights * similarities, axis=-1) - margins)
        counts = ops.ones_like(logits[0])
        if pairs.negative_counts is not None:
            counts = group(ops.cast(pairs.negative_counts, logits.dtype)[None])[0, :, 0]
        other_sums = log_sum_exp(logits + ops.log(counts), is_other)
        losses = ops.softplus(other_sums - log_sum_exp(logits, is_own))
        classes = ops.transpose(group(ops.transpose(references)), (1, 2, 0))
        spread = self._center_spread(classes, counts)
        return mean_where(losses, ops.any(is_own, axis=1)) + self.tau * spread

    def _center_spread(self, classes, counts):
        distances = ops.sum(euclidean_distances(classes, classes), axis=(1, 2))
        # k and l, and l and k
        doubled_pairs = ops.sum(counts) * self.proxies_per_class * (self.proxies_per_class - 1)
        return ops.sum(counts * distances) / (2.0 * ops.maximum(doubled_pairs, 1.0))

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "gamma": self.gamma,
            "tau": self.tau,
            "margin": self.margin,
        }
