"""N-pair loss."""

import keras
from keras import ops

from ccp_dml.losses.pairwise import log_sum_exp
from ccp_dml.losses.reductions import REDUCTIONS
from ccp_dml.losses.temperature import TemperatureLoss


@keras.saving.register_keras_serializable("ccp_dml")
class NPair(TemperatureLoss):
    """N-pair loss (Sohn, NIPS 2016): each positive against all negatives of its anchor.

    The mean over the positive pairs of `log(1 + Σ_N e^{(S_N − S_P)/T})`, N the anchor's negatives,
    S the inner product of normalised vectors. With `negative_counts` the sum is unbiased, but its
    logarithm is too small on average.

    Against one reference of each class this is the paper's multi-class N-pair loss. The paper takes
    un-normalised vectors and T = 1 and penalises their norms: `normalize=False, temperature=1.0`
    and a regulariser in the network. With all samples of a batch as references, it counts all of
    their negatives instead of one of each class. With two views of each sample that is NT-Xent
    (Chen et al., ICML 2020, SimCLR), and with more samples of a class it is what other libraries
    call NT-Xent: `"nt_xent"` is this loss.

    Args:
        temperature: T. Defaults to 0.1, SimCLR's value on ImageNet for normalised vectors.
        reduction: How the terms of the positive pairs are combined; see `Contrastive`. Defaults to
            `"mean"`.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive, or `reduction` is unknown.

    Example:

    >>> loss = NPair(temperature=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)
    0.3133
    """

    reductions = REDUCTIONS

    def __init__(self, temperature: float = 0.1, reduction: str = "mean", **kwargs):
        super().__init__(temperature, reduction, **kwargs)

    def labeled_loss(self, embeddings, references, pairs, seed):
        logits = self.logits(embeddings, references)
        negative_sums = log_sum_exp(pairs.weigh_negative_logits(logits), pairs.negatives)
        terms = ops.softplus(negative_sums[:, None] - logits)
        return self.reduce(ops.where(pairs.positives, terms, 0.0), pairs.positives, pairs)
