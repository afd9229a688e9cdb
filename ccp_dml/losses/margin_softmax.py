"""Base class of softmax losses with a margin in the similarity to the sample's own class."""

from keras import ops

from ccp_dml.checks import check_above, check_at_least
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_sum_exp, mean_where


class MarginSoftmaxLoss(PairwiseLoss):
    """Base class of cross-entropies of scaled similarities, with a margin for positives.

    The mean over the positive pairs of `−log(e^{s·ψ(S_P)} / (e^{s·ψ(S_P)} + Σ_N e^{s·S_N}))`, N the
    anchor's negatives, S the inner product of normalised vectors. Subclasses implement ψ as
    `add_margin`.

    Args:
        margin: m.
        scale: s. Defaults to 64.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `margin` is negative or `scale` is not positive.
    """

    def __init__(self, margin: float, scale: float = 64.0, **kwargs):
        super().__init__(**kwargs)
        check_at_least("margin", margin, 0)
        check_above("scale", scale, 0)
        self.margin = margin
        self.scale = scale

    @property
    def is_proxy_loss(self):
        return True

    def add_margin(self, similarities):
        """ψ, which maps similarities `(n, r)` to those that count for positives."""
        raise NotImplementedError(f"{type(self).__name__} does not implement add_margin")

    def labeled_loss(self, embeddings, references, pairs, seed):
        similarities = inner_products(embeddings, references)
        negative_logits = pairs.weigh_negative_logits(self.scale * similarities)
        return self.cross_entropy(similarities, negative_logits, pairs.positives, pairs.negatives)

    def cross_entropy(self, similarities, negative_logits, positives, negatives):
        """The mean over the positives.

        Args:
            similarities: `(n, r)`.
            negative_logits: `s·S` of the negatives, weighted by how often they count `(n, r)`.
            positives: Boolean mask `(n, r)`.
            negatives: Boolean mask `(n, r)`.

        Returns:
            A scalar.
        """
        negative_sums = log_sum_exp(negative_logits, negatives)[:, None]
        logits = self.scale * self.add_margin(similarities)
        return mean_where(ops.softplus(negative_sums - logits), positives)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}
