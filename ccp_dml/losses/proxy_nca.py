"""Proxy NCA++ loss."""

import keras
from keras import ops

from ccp_dml.losses.pairwise import log_sum_exp
from ccp_dml.losses.temperature import TemperatureLoss


@keras.saving.register_keras_serializable("ccp_dml")
class ProxyNCA(TemperatureLoss):
    """Proxy NCA++ (Teh et al., ECCV 2020): the probability of the sample's own class.

    The mean over the samples of `−log Σ_P softmax(S/T)`, the softmax over a sample's positive and
    negative references, S the inner product of normalised vectors. Samples without a positive
    reference are left out. With `negative_counts` the softmax's sum is unbiased, but its logarithm
    is too small on average.

    The paper uses one proxy per class. With several, a sample only has to be close to one proxy of
    its class (`NormalizedSoftmax` pulls it towards all of them). Within a batch, without
    references, the loss is neighbourhood component analysis.

    `temperature` is half of the paper's T, as in the code of CCP's authors: the paper divides
    squared distances by T, which are 2 − 2S for vectors of length 1. Its T = 1/9 is 1/18 here.

    Args:
        temperature: T. Defaults to 0.1.
        reduction: How the values of the anchors are combined, a key of `ANCHOR_REDUCTIONS`:
            `"per_anchor"` (default), their mean; or `"per_class"`, the mean over the classes of the
            mean of each, so that every class counts the same, however many anchors it has.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive, or `reduction` is unknown.

    Example:

    >>> loss = ProxyNCA(temperature=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)
    0.3133
    """

    @property
    def is_proxy_loss(self):
        return True

    def labeled_loss(self, embeddings, references, pairs, seed):
        logits = self.logits(embeddings, references)
        # −log(Σ_P / (Σ_P + Σ_N)) = log(1 + Σ_N / Σ_P)
        negative_sums = log_sum_exp(pairs.weigh_negative_logits(logits), pairs.negatives)
        losses = ops.softplus(negative_sums - log_sum_exp(logits, pairs.positives))
        return self.reduce(losses, ops.any(pairs.positives, axis=1), pairs)
