"""What all pairwise losses share: the pairs, their masks, and ways to average over them."""

import keras
from keras import ops

from ccp_dml import replicas
from ccp_dml.layers.normalization import lipschitz_normalize
from ccp_dml.losses.distances import as_float


def pair_masks(labels, reference_labels=None):
    """Which pairs of an anchor and a reference are positive, and which are negative.

    Args:
        labels: Labels of the anchors `(n,)`.
        reference_labels: Labels of the references `(r,)`. `None` means that the anchors are the
            references; then no sample is its own positive.

    Returns:
        Two boolean masks `(n, r)`: same class (and not the same sample), other class.
    """
    others = labels if reference_labels is None else reference_labels
    same = ops.equal(labels[:, None], others[None, :])
    negatives = ops.logical_not(same)
    if reference_labels is None:
        index = ops.arange(ops.shape(labels)[0])
        same = ops.logical_and(same, ops.not_equal(index[:, None], index[None, :]))
    return same, negatives


def mean_over_nonzero(terms):
    """The sum of non-negative terms over the number of those above zero; 0 when there are none."""
    count = ops.sum(ops.cast(terms > 0, terms.dtype))
    return ops.sum(terms) / ops.maximum(count, 1.0)


class PairwiseLoss(keras.losses.Loss):
    """Base class of losses over pairs of an anchor and a reference.

    Usable in three ways: in `model.compile(loss=…)` of a Keras model whose output is the embeddings
    and whose targets are integer labels; called on a batch, whose samples are then anchors and
    references at once; and called against references such as proxies, with the samples as anchors.

    Subclasses implement `pairs_loss`.

    Args:
        normalize: Whether embeddings and references pass through the Lipschitz normalisation first.
            Defaults to `True`.
        name: Name of the loss.

    Call arguments:
        labels: `(n,)` or `(n, 1)`, integers (also as floats, as Keras hands them on).
        embeddings: `(n, d)`; half precision is computed in float32.
        references: `(r, d)`, optional; the dtype of `embeddings` after the above.
        reference_labels: `(r,)`, required with `references`.

    Returns:
        A scalar, float32 (float64 for float64 embeddings), finite and with finite gradients also
        when there is no positive pair, no negative pair, or when vectors are equal. In the replica
        context of a `tf.distribute` strategy it is the loss of all replicas' samples, divided by
        the number of replicas, as Keras expects of a loss whose gradients it adds up.

    Raises:
        ValueError: If the shapes do not fit, or for `sample_weight`, which has no meaning for
            pairs.
    """

    def __init__(self, normalize: bool = True, name: str | None = None):
        super().__init__(name=name, reduction=None)
        self.normalize = normalize

    def __call__(
        self, labels, embeddings, sample_weight=None, references=None, reference_labels=None
    ):
        if sample_weight is not None:
            raise ValueError(f"{type(self).__name__} is over pairs: sample_weight must be None")
        if replicas.num_replicas() > 1:
            labels = replicas.gather(ops.convert_to_tensor(labels))
            embeddings = replicas.gather(ops.convert_to_tensor(embeddings))
        loss = self.call(labels, embeddings, references, reference_labels)
        return loss / replicas.num_replicas()

    def call(self, labels, embeddings, references=None, reference_labels=None):
        """The loss of what is given, whatever the other replicas hold."""
        labels, embeddings = _checked(labels, embeddings, "labels", "embeddings")
        if (references is None) != (reference_labels is None):
            raise ValueError("references and reference_labels must be given together")
        if self.normalize:
            embeddings = lipschitz_normalize(embeddings)
        if references is None:
            positives, negatives = pair_masks(labels)
            return self.pairs_loss(embeddings, embeddings, positives, negatives)
        reference_labels, references = _checked(
            reference_labels, references, "reference_labels", "references"
        )
        if references.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"references of size {references.shape[1]} cannot be compared with embeddings of "
                f"size {embeddings.shape[1]}"
            )
        references = ops.cast(references, embeddings.dtype)
        if self.normalize:
            references = lipschitz_normalize(references)
        positives, negatives = pair_masks(labels, reference_labels)
        return self.pairs_loss(embeddings, references, positives, negatives)

    def pairs_loss(self, embeddings, references, positives, negatives):
        """The loss of anchors against references.

        Args:
            embeddings: Anchors `(n, d)`, normalised if `normalize` is set.
            references: `(r, d)`, likewise.
            positives: Boolean mask `(n, r)`.
            negatives: Boolean mask `(n, r)`.

        Returns:
            A scalar.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement pairs_loss")

    def get_config(self):
        return {"name": self.name, "normalize": self.normalize}


def _checked(labels, vectors, labels_name, vectors_name):
    labels, vectors = ops.convert_to_tensor(labels), as_float(vectors)
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        labels = ops.squeeze(labels, axis=1)
    if len(vectors.shape) != 2 or len(labels.shape) != 1:
        raise ValueError(
            f"{vectors_name} must be (n, d) and {labels_name} (n,); got {tuple(vectors.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if None not in (labels.shape[0], vectors.shape[0]) and labels.shape[0] != vectors.shape[0]:
        raise ValueError(
            f"{vectors_name} and {labels_name} must have one row a sample; got "
            f"{vectors.shape[0]} and {labels.shape[0]}"
        )
    return labels, vectors
