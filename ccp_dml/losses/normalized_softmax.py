"""Softmax over normalised references."""

import keras
from keras import ops

from ccp_dml.losses.pairwise import log_sum_exp
from ccp_dml.losses.temperature import TemperatureLoss


@keras.saving.register_keras_serializable("ccp_dml")
class NormalizedSoftmax(TemperatureLoss):
    """Normalised softmax loss (Zhai and Wu, BMVC 2019): cross-entropy of cosine similarities.

    The mean over the samples of the mean over their positives of `−log softmax(S/T)`, the softmax
    over a sample's positive and negative references, S the inner product of normalised vectors.
    Samples without a positive reference are left out. With `negative_counts` the softmax's sum is
    unbiased, but its logarithm is too small on average.

    The paper uses one proxy per class, for which the loss equals `ProxyNCA`. With several, the
    target of the cross-entropy is spread evenly over the proxies of the sample's class, which pulls
    the sample towards all of them. Within a batch, without references, it is the supervised
    contrastive loss (`SupCon`).

    Args:
        temperature: T. Defaults to 0.05.
        reduction: How the values of the anchors are combined, a key of `ANCHOR_REDUCTIONS`:
            `"per_anchor"` (default), their mean; or `"per_class"`, the mean over the classes of the
            mean of each, so that every class counts the same, however many anchors it has.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive, or `reduction` is unknown.

    Example:

    >>> loss = NormalizedSoftmax(temperature=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)
    0.3133
    """

    def __init__(self, temperature: float = 0.05, reduction: str = "per_anchor", **kwargs):
        super().__init__(temperature, reduction, **kwargs)

    @property
    def is_proxy_loss(self):
        return True

    def labeled_loss(self, embeddings, references, pairs, seed):
        logits = self.logits(embeddings, references)
        is_pair = ops.logical_or(pairs.positives, pairs.negatives)
        total = log_sum_exp(pairs.weigh_negative_logits(logits), is_pair)[:, None]
        counts = ops.sum(ops.cast(pairs.positives, logits.dtype), axis=1)
        pulls = ops.sum(ops.where(pairs.positives, total - logits, 0.0), axis=1)
        return self.reduce(pulls / ops.maximum(counts, 1.0), counts > 0, pairs)
