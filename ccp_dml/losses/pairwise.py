"""The base class of pairwise losses; pairs, their masks, and means over them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from ccp_dml import distribution
from ccp_dml.backend.size import is_large
from ccp_dml.layers.normalization import lipschitz_normalize
from ccp_dml.losses.distances import to_float
from ccp_dml.losses.row_sums import normalize_rows, sum_rows

# Stands for -∞ in exponents: e^-1e30 is 0, and no gradient becomes ∞ − ∞.
_LARGE_NEGATIVE = -1e30


class Pairs(NamedTuple):
    """The pairs of n anchors and r references.

    Attributes:
        positives: Boolean mask `(n, r)`.
        negatives: Boolean mask `(n, r)`. A pair that is neither positive nor negative, such as a
            sample with itself, does not count.
        labels: Labels of the anchors `(n,)`; `(n, k)` for a loss with `same_class`.
        reference_labels: Labels of the references `(r,)`, or `(r, k)`; `labels` if the anchors are
            the references.
        negative_counts: How many negatives each reference represents `(r,)`, if the references are
            a random sample of a larger set. Defaults to `None`: each represents itself.
    """

    positives: Any
    negatives: Any
    labels: Any
    reference_labels: Any
    negative_counts: Any = None

    def class_numbers(self, owner: str):
        """`labels`, checked to hold one class for each anchor.

        Args:
            owner: What needs them, for the message.

        Raises:
            ValueError: If the labels are not `(n,)`.
        """
        shape = tuple(self.labels.shape)
        if len(shape) != 1:
            raise ValueError(
                f"{owner} needs one class number per sample, labels (n,); got labels of shape "
                f"{shape}"
            )
        return self.labels

    def extend_negative_counts(self, size):
        """Extends `negative_counts` by `size` references, each of which counts once."""
        if self.negative_counts is None:
            return None
        ones = ops.ones((size,), dtype=self.negative_counts.dtype)
        return ops.concatenate([self.negative_counts, ones], axis=0)

    def weigh_negatives(self, terms):
        """Multiplies the terms `(n, r)` of negatives by the number of negatives they represent."""
        if self.negative_counts is None:
            return terms
        counts = ops.cast(self.negative_counts, terms.dtype)
        return terms * ops.where(self.negatives, counts, 1.0)

    def weigh_negative_logits(self, logits):
        """Shifts the logits `(n, r)` of negatives, which weights their exponentials likewise."""
        if self.negative_counts is None:
            return logits
        log_counts = ops.log(ops.cast(self.negative_counts, logits.dtype))
        return logits + ops.where(self.negatives, log_counts, 0.0)


def have_equal_labels(labels, reference_labels):
    """Returns which pairs `(n, r)` of labels `(n,)` and `(r,)` are of the same class."""
    return ops.equal(labels[:, None], reference_labels[None, :])


@keras.saving.register_keras_serializable("ccp_dml")
def have_common_label(labels: Any, reference_labels: Any) -> Any:
    """Returns which pairs have a label in common, for data with several labels per sample.

    Args:
        labels: `(n, k)`: for each of k labels, 1 if the sample has it and 0 if not.
        reference_labels: `(r, k)`, likewise.

    Returns:
        Booleans `(n, r)`.

    Example:

    >>> have_common_label(np.array([[1, 1, 0]]), np.array([[0, 1, 1], [0, 0, 1]])).numpy()
    array([[ True, False]])
    """
    labels, reference_labels = (ops.cast(each, "float32") for each in (labels, reference_labels))
    return ops.matmul(labels, ops.transpose(reference_labels)) > 0.5


def pair_masks(labels, reference_labels=None, same_class: Callable = have_equal_labels):
    """Returns which pairs of an anchor and a reference are positive, and which are negative.

    Args:
        labels: Labels of the anchors `(n,)`, or what `same_class` takes.
        reference_labels: Labels of the references `(r,)`. `None` means that the anchors are the
            references; then no sample is its own positive, nor its own negative.
        same_class: Function of both that returns which pairs are of the same class. Defaults to
            those of equal labels.

    Returns:
        Two boolean masks `(n, r)`: the same class (but not the same sample), and different classes.

    Raises:
        ValueError: If `same_class` does not return booleans of that shape.
    """
    others = labels if reference_labels is None else reference_labels
    same = _check_same_class(same_class(labels, others), labels, others)
    negatives = ops.logical_not(same)
    if reference_labels is None:
        index = ops.arange(ops.shape(labels)[0])
        is_other = ops.not_equal(index[:, None], index[None, :])
        same = ops.logical_and(same, is_other)
        if same_class is not have_equal_labels:
            # A sample without any label shares none with itself.
            negatives = ops.logical_and(negatives, is_other)
    return same, negatives


def _check_same_class(same, labels, others):
    shape, expected = tuple(same.shape), (labels.shape[0], others.shape[0])
    dtype = keras.backend.standardize_dtype(same.dtype)
    fits = len(shape) == 2 and all(
        None in sizes or sizes[0] == sizes[1] for sizes in zip(shape, expected, strict=True)
    )
    if dtype != "bool" or not fits:
        raise ValueError(
            f"same_class must return booleans of shape {expected}; got {dtype} of shape {shape}"
        )
    return same


def mean_over_nonzero(terms, weigh=lambda terms: terms):
    """Divides the sum of non-negative terms by the number of those above zero; 0 without any.

    `weigh`, such as `Pairs.weigh_negatives`, multiplies terms by how often they count.
    """
    total = _sum_of_large if is_large(terms.shape) else ops.sum
    count = total(weigh(ops.cast(terms > 0, terms.dtype)))
    return total(weigh(terms)) / ops.maximum(count, 1.0)


def _sum_of_large(terms):
    return ops.sum(sum_rows(terms))


def mean_where(terms, mask, weigh=lambda terms: terms):
    """The mean of the terms where `mask` is set; 0 if it is set nowhere. `weigh`: as above."""
    count = ops.sum(weigh(ops.cast(mask, terms.dtype)))
    return ops.sum(weigh(ops.where(mask, terms, 0.0))) / ops.maximum(count, 1.0)


def log_sum_exp(logits, mask):
    """`log Σ_mask e^logits` along the last of two axes; -1e30 for an empty mask."""
    never = ops.full((ops.shape(logits)[0], 1), _LARGE_NEGATIVE, dtype=logits.dtype)
    return ops.logsumexp(
        ops.concatenate([never, ops.where(mask, logits, _LARGE_NEGATIVE)], axis=1), axis=1
    )


def log_one_plus_sum_exp(logits, mask):
    """`log(1 + Σ_mask e^logits)` along the last of two axes; 0 for an empty mask."""
    return ops.softplus(log_sum_exp(logits, mask))


class PairwiseLoss(keras.losses.Loss):
    """Base class of losses over pairs of an anchor and a reference.

    Usable in three ways: in `model.compile(loss=…)` of a Keras model whose output is the embeddings
    and whose targets are integer labels; called on a batch, whose samples are then anchors and
    references at once; and called against references such as proxies, with the samples as anchors.

    Subclasses implement `pairs_loss` if masks are all they need, and otherwise `labeled_loss`,
    which also has the labels. Losses hold no variables: the weights that they learn besides the
    embeddings (`initial_weights`) belong to the caller, who passes them to the call by name, and
    also passes the seed to losses that draw random numbers.

    Args:
        normalize: Whether embeddings and references are normalised by the Lipschitz normalisation
            first. Defaults to `True`.
        same_class: Which samples are of the same class: a function of labels `(n, k)` and reference
            labels `(r, k)`, or `(n,)` and `(r,)`, that returns booleans `(n, r)`, such as
            `have_common_label` for data with several labels per sample. Pairs of the same class are
            positive, all others negative. It must be symmetric, and Keras must be able to serialize
            it if the loss is to be saved with a model. Defaults to `None`: samples with equal
            labels.
        name: Name of the loss.

    Call arguments:
        labels: `(n,)` or `(n, 1)`, integers, or the floats that Keras may convert them to; with
            `same_class`, in the form that it expects.
        embeddings: `(n, d)`; half precision is computed in float32.
        references: `(r, d)`, optional; cast to the dtype in which `embeddings` are computed.
        reference_labels: `(r,)`, required with `references`; with `same_class`, in the form that
            it expects.
        negative_counts: `(r,)`, optional, for `references` that are a random sample of a larger
            set: how many negatives each of them represents, 1 for those that are certain to be
            among the references. Sums over negatives are then unbiased estimates of the sums over
            all negatives. A logarithm or a ratio of such sums is only asymptotically unbiased; each
            loss says which case applies. Defaults to `None`: each represents itself.
        anchors_start: The row of `references` at which the samples themselves begin, an integer
            scalar, if they are among the references in their order. Every sample is then its own
            positive, at a distance of exactly 0; if it were normalised once more among the
            references, the two could differ in the last digit. Defaults to `None`: they are not
            among them.
        seed: An integer, for losses that draw random numbers; usually the number of the training
            step. Equal seeds give equal draws, on all replicas. Defaults to a number computed from
            the embeddings.
        **weights: Tensors named as in `initial_weights`; all are optional.

    Returns:
        A scalar, float32 (with TensorFlow float64 for float64 embeddings), finite and with finite
        gradients even if there is no positive or no negative pair, or if vectors are equal. In the
        replica context of a `tf.distribute` strategy it is the loss of all replicas' samples,
        divided by the number of replicas, as Keras expects of a loss whose gradients it adds up.

    Raises:
        ValueError: If shapes do not fit; if `sample_weight` is given, which has no meaning for
            pairs; if there are no references but the loss `needs_references`; or if labels are `(n,
            k)` but the loss needs one class per sample, as losses that learn or weight something by
            class do.
        TypeError: If the loss does not learn one of `weights`.
    """

    def __init__(
        self,
        normalize: bool = True,
        same_class: Callable | Mapping[str, Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name, reduction=None)
        self.normalize = normalize
        if isinstance(same_class, Mapping):
            same_class = keras.saving.deserialize_keras_object(dict(same_class))
        if not (same_class is None or callable(same_class)):
            raise ValueError(f"same_class must be a function of labels or None; got {same_class!r}")
        self.same_class = same_class

    @property
    def needs_references(self) -> bool:
        """Whether the loss is defined only against references, and not within a batch."""
        return False

    @property
    def is_proxy_loss(self) -> bool:
        """Whether the loss was published as a loss against trainable proxies of the classes."""
        return self.needs_references

    @property
    def takes_triplets(self) -> bool:
        """Whether the loss is over triplets, and its `labeled_loss` takes a `TripletMiner`."""
        return False

    @property
    def proxies_per_class(self) -> int | None:
        """Number of references that it needs per class; `None` if any number will do."""
        return None

    def initial_weights(self, num_classes: int) -> dict[str, np.ndarray]:
        """Returns the weights that the loss can learn, with their initial values.

        Args:
            num_classes: Number of training classes C; training labels are 0…C − 1.

        Returns:
            float32 arrays by the name under which the call takes them.
        """
        return {}

    def __call__(
        self,
        labels,
        embeddings,
        sample_weight=None,
        references=None,
        reference_labels=None,
        seed=None,
        negative_counts=None,
        anchors_start=None,
        **weights,
    ):
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is computed from pairs: sample_weight must be None"
            )
        if distribution.num_replicas() > 1:
            labels = distribution.gather(ops.convert_to_tensor(labels))
            embeddings = distribution.gather(ops.convert_to_tensor(embeddings))
        loss = self.call(
            labels,
            embeddings,
            references,
            reference_labels,
            seed,
            negative_counts,
            anchors_start,
            **weights,
        )
        return loss / distribution.num_replicas()

    def call(
        self,
        labels,
        embeddings,
        references=None,
        reference_labels=None,
        seed=None,
        negative_counts=None,
        anchors_start=None,
        **weights,
    ):
        """Computes the loss of the given samples, without those of other replicas."""
        labels, embeddings = self._check_batch(labels, embeddings, "labels", "embeddings")
        if (references is None) != (reference_labels is None):
            raise ValueError("references and reference_labels must be given together")
        if self.normalize:
            embeddings = lipschitz_normalize(embeddings)
        if references is None:
            if self.needs_references:
                raise ValueError(
                    f"{type(self).__name__} compares samples with proxies of their classes: pass "
                    f"references and reference_labels"
                )
            pairs = Pairs(*pair_masks(labels, None, self._same_class), labels, labels)
            return self._compute(embeddings, embeddings, pairs, seed, **weights)
        reference_labels, references = self._check_batch(
            reference_labels, references, "reference_labels", "references"
        )
        if references.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"references of size {references.shape[1]} cannot be compared with embeddings of "
                f"size {embeddings.shape[1]}"
            )
        references = ops.cast(references, embeddings.dtype)
        if self.normalize:
            normalize = normalize_rows if is_large(references.shape) else lipschitz_normalize
            references = normalize(references)
        if anchors_start is not None:
            rows = anchors_start + ops.arange(ops.shape(embeddings)[0], dtype="int32")
            itself = ops.stop_gradient(embeddings)
            references = ops.scatter_update(references, rows[:, None], itself)
        labels, reference_labels = _to_common_dtype(labels, reference_labels)
        masks = pair_masks(labels, reference_labels, self._same_class)
        if anchors_start is not None and self.same_class is not None:
            masks = _add_pairs_with_itself(*masks, rows)
        pairs = Pairs(*masks, labels, reference_labels, negative_counts)
        return self._compute(embeddings, references, pairs, seed, **weights)

    def _compute(self, embeddings, references, pairs, seed, **weights):
        # An empty set has no largest or nearest element.
        if 0 in (embeddings.shape[0], references.shape[0]):
            return 0.0 * ops.sum(embeddings)
        return self.labeled_loss(embeddings, references, pairs, seed, **weights)

    def labeled_loss(self, embeddings, references, pairs: Pairs, seed):
        """Computes the loss of anchors against references, for losses that need more than masks.

        Args:
            embeddings: Anchors `(n, d)`, normalised if `normalize` is set.
            references: `(r, d)`, likewise.
            pairs: Masks and labels. Whether a pair is positive or negative is read from the masks,
                which a miner or a wrapper may have changed, and not from the labels.
            seed: An integer or `None`, as in the call.

        Returns:
            A scalar.
        """
        return self.pairs_loss(embeddings, references, pairs.positives, pairs.negatives)

    def pairs_loss(self, embeddings, references, positives, negatives):
        """Computes the loss of anchors against references, each of which counts once.

        Args:
            embeddings: Anchors `(n, d)`, normalised if `normalize` is set.
            references: `(r, d)`, likewise.
            positives: Boolean mask `(n, r)`.
            negatives: Boolean mask `(n, r)`.

        Returns:
            A scalar.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement pairs_loss")

    @property
    def _same_class(self):
        return have_equal_labels if self.same_class is None else self.same_class

    def _check_batch(self, labels, vectors, labels_name, vectors_name):
        labels, vectors = ops.convert_to_tensor(labels), to_float(vectors)
        is_column = len(labels.shape) == 2 and labels.shape[1] == 1
        if is_column and self.same_class is None:
            labels = ops.squeeze(labels, axis=1)
        ranks, allowed = ((1,), "(n,)") if self.same_class is None else ((1, 2), "(n,) or (n, k)")
        if len(vectors.shape) != 2 or len(labels.shape) not in ranks:
            raise ValueError(
                f"{vectors_name} must be (n, d) and {labels_name} {allowed}; got "
                f"{tuple(vectors.shape)} and {tuple(labels.shape)}"
            )
        if None not in (labels.shape[0], vectors.shape[0]) and labels.shape[0] != vectors.shape[0]:
            raise ValueError(
                f"{vectors_name} and {labels_name} must have one row per sample; got "
                f"{vectors.shape[0]} and {labels.shape[0]}"
            )
        return labels, vectors

    def get_config(self):
        same_class = self.same_class
        if same_class is not None:
            same_class = keras.saving.serialize_keras_object(same_class)
        return {"name": self.name, "normalize": self.normalize, "same_class": same_class}


def _to_common_dtype(labels, reference_labels):
    """Casts integers to a dtype that holds both, and other labels to the dtype of the anchors'."""
    dtype = keras.backend.result_type(labels.dtype, reference_labels.dtype)
    # As floats, large integers would lose digits.
    if not keras.backend.is_int_dtype(dtype):
        dtype = labels.dtype
    return ops.cast(labels, dtype), ops.cast(reference_labels, dtype)


def _add_pairs_with_itself(positives, negatives, rows):
    """Makes each anchor a positive of the reference in its entry of `rows`."""
    is_itself = ops.equal(rows[:, None], ops.arange(ops.shape(positives)[1])[None, :])
    negatives = ops.logical_and(negatives, ops.logical_not(is_itself))
    return ops.logical_or(positives, is_itself), negatives
