"""A virtual class in the direction of every sample."""

import keras
from keras import ops

from ccp_dml.losses.distances import inner_products, lengths
from ccp_dml.losses.pairwise import Pairs, PairwiseLoss
from ccp_dml.losses.wrapper import LossWrapper, require_one_reference_per_class


@keras.saving.register_keras_serializable("ccp_dml")
class VirtualSoftmax(LossWrapper):
    """A loss with a virtual class for every sample (Chen, Deng and Shen, NeurIPS 2018).

    Every sample x gets one more negative reference, `x·‖p‖/‖x‖`, where p is the nearest of its
    positives: no vector of that length is nearer to x. A softmax loss then keeps pulling a sample
    to its class when all other classes are already far. With `NormalizedSoftmax` and one proxy per
    class this is the paper's loss on normalised vectors; its virtual logit is `‖p‖‖x‖/T`. Samples
    without a positive get no virtual reference.

    Args:
        loss: The `PairwiseLoss` to wrap. Losses of distances that are hinged pairwise, such as
            `Contrastive`, gain nothing: the distance to the virtual reference is always about 0.
        **kwargs: See `LossWrapper`.

    Raises:
        ValueError: If `loss` needs several proxies per class.

    Example:

    >>> from ccp_dml.losses import NormalizedSoftmax
    >>> loss = VirtualSoftmax(NormalizedSoftmax(temperature=1.0))
    >>> embeddings, labels = np.array([[1.0, 0.0], [0.0, 1.0]], "float32"), np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)  # log((e + 1 + e) / e)
    0.862
    """

    def __init__(self, loss: PairwiseLoss, **kwargs):
        super().__init__(loss, **kwargs)
        require_one_reference_per_class(self)

    def labeled_loss(self, embeddings, references, pairs, seed, **weights):
        similarities = inner_products(embeddings, references)
        nearest = ops.argmax(ops.where(pairs.positives, similarities, -1e30), axis=1)
        scales = lengths(ops.take(references, nearest, axis=0)) / lengths(embeddings)
        is_own = ops.eye(ops.shape(embeddings)[0], dtype="bool")
        has_positive = ops.any(pairs.positives, axis=1, keepdims=True)
        pairs = Pairs(
            ops.concatenate([pairs.positives, ops.zeros_like(is_own)], axis=1),
            ops.concatenate([pairs.negatives, ops.logical_and(is_own, has_positive)], axis=1),
            pairs.labels,
            ops.concatenate([pairs.reference_labels, pairs.labels], axis=0),
            pairs.extend_negative_counts(ops.shape(embeddings)[0]),
        )
        references = ops.concatenate([references, embeddings * scales], axis=0)
        return self.loss.labeled_loss(embeddings, references, pairs, seed, **weights)
