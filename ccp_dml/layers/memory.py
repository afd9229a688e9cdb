"""Cross-batch memory: a ring of the embeddings of the last batches."""

import contextlib

import keras
from keras import ops

from ccp_dml import backend
from ccp_dml.checks import check_whole_number

INT32_LABELS = (
    "the memory holds labels in int32: they must be whole numbers from -2147483648 to 2147483647; "
    "see ccp_dml.data.contiguous"
)


@keras.saving.register_keras_serializable("ccp_dml")
class CrossBatchMemory(keras.layers.Layer):
    """Keeps the embeddings and labels of the last batches as references for a loss.

    "Cross-Batch Memory for Embedding Learning" (Wang et al., CVPR 2020): embeddings drift slowly,
    so that those of past batches still tell which pairs are hard. The ring consists of
    non-trainable weights: it is saved with the model, and equal on all replicas.

    Args:
        num_batches: Number of batches M that the ring holds.
        batch_size: Number of samples of a (global) batch.
        start_step: Number of batches S before the ring is used, because embeddings change fast at
            first. Defaults to 1,000.
        includes_batch: Whether a batch enters the ring before its loss is computed, and is
            therefore among its own references: every sample is then a positive of itself, at
            distance 0. The ring is used from step `S + M` on. If `False`, a batch is compared only
            with those before it, and the ring is used after step `max(S, M)`. Defaults to `True`,
            as in the paper's code and in CCP's.
        label_size: Number k of labels of a sample, at least 2, for a loss whose `same_class`
            compares label rows `(n, k)`. Defaults to `None`: a sample has one class.

    Attributes:
        embeddings: The ring, before normalisation, `(num_batches · batch_size, d)`.
        labels: The class of each row, int32 `(num_batches · batch_size,)`, or with `label_size` its
            labels `(num_batches · batch_size, k)`.
        steps: Number of batches added so far, an integer scalar.

    Raises:
        ValueError: If a number is out of range; in `add`, if labels have another shape or do not
            fit into int32, or if a batch has another size, as the last one of `fit` on arrays may
            have. What TensorFlow does not know before the step raises an `InvalidArgumentError`;
            under XLA it is not checked.

    Example:

    >>> memory = CrossBatchMemory(num_batches=2, batch_size=3, start_step=0)
    >>> memory.build((None, 4))
    >>> for label in (5, 6, 7):
    ...     memory.add(np.full(3, label), np.zeros((3, 4), "float32"))
    >>> memory.labels.numpy().tolist()
    [7, 7, 7, 6, 6, 6]
    """

    def __init__(
        self,
        num_batches: int,
        batch_size: int,
        start_step: int = 1000,
        includes_batch: bool = True,
        label_size: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_whole_number("num_batches", num_batches, 1)
        check_whole_number("batch_size", batch_size, 1)
        check_whole_number("start_step", start_step, 0)
        if label_size is not None:
            check_whole_number("label_size", label_size, 2)
        self.num_batches = num_batches
        self.batch_size = batch_size
        self.start_step = start_step
        self.includes_batch = includes_batch
        self.label_size = label_size

    @property
    def first_step(self) -> int:
        """The first step, counted from 1, whose loss uses the ring."""
        if self.includes_batch:
            return self.start_step + self.num_batches
        return max(self.start_step, self.num_batches) + 1

    def build(self, input_shape):
        rows = self.num_batches * self.batch_size
        # Every replica computes the same rows, those of all replicas.
        state = {
            "initializer": "zeros",
            "trainable": False,
            "autocast": False,
            "aggregation": "only_first_replica",
        }
        self.embeddings = self.add_weight(
            shape=(rows, input_shape[-1]), dtype=self.variable_dtype, name="embeddings", **state
        )
        self.labels = self.add_weight(
            shape=(rows, *self._label_shape), dtype="int32", name="labels", **state
        )
        self.steps = self.add_weight(shape=(), dtype="int", name="steps", **state)

    def is_ready(self):
        """Returns whether the loss of the current batch uses the ring, a boolean scalar.

        If the ring `includes_batch`, call this after the batch was added.
        """
        step = self.steps.value if self.includes_batch else self.steps.value + 1
        return step >= self.first_step

    def last_batch_start(self):
        """Returns the first row of the batch that was added last, an int32 scalar."""
        place = ops.cast((self.steps.value - 1) % self.num_batches, "int32")
        return place * self.batch_size

    def add(self, labels, embeddings):
        """Replaces the oldest batch of the ring; no gradient flows into it.

        Args:
            labels: Integers of int32 `(batch_size,)`, or `(batch_size, k)` with `label_size`.
            embeddings: `(batch_size, d)`.
        """
        labels, embeddings = map(ops.convert_to_tensor, (labels, embeddings))
        self.check_labels(labels)
        # As many rows as there are samples: from `batch_size` rows TensorFlow's graph optimiser
        # would conclude that there are as many samples, and drop the check of it.
        size = ops.shape(embeddings)[0]
        place = ops.cast(self.steps.value % self.num_batches, "int32")
        # Everything waits for the labels. In a step that fails because its data set has ended,
        # TensorFlow would otherwise still change the variables whose values do not depend on them,
        # such as the count.
        with self._require_batch_size(size), _require_int32(labels):
            rows = place * self.batch_size + ops.arange(size, dtype="int32")
            for weight, values in [(self.embeddings, embeddings), (self.labels, labels)]:
                values = ops.stop_gradient(ops.cast(values, weight.dtype))
                backend.write_rows(weight, rows, values)
            self.steps.assign_add(1)

    def check_labels(self, labels):
        """Checks that labels have the shape that the ring holds.

        Args:
            labels: See `add`.

        Raises:
            ValueError: If they do not.
        """
        _, *shape = labels.shape
        if shape not in ([*self._label_shape], [None] * len(self._label_shape)):
            raise ValueError(
                f"the memory was made with label_size={self.label_size}, for labels of shape "
                f"{(self.batch_size, *self._label_shape)}; got {tuple(labels.shape)}"
            )

    @property
    def _label_shape(self):
        return () if self.label_size is None else (self.label_size,)

    def _require_batch_size(self, size):
        expected = (
            f"the memory was made for batches of {self.batch_size} samples, so every batch must "
            "have that many"
        )
        if not isinstance(size, int):
            return backend.require(size == self.batch_size, expected)
        if size != self.batch_size:
            raise ValueError(f"{expected}; got {size}")
        return contextlib.nullcontext()

    def get_config(self):
        return {
            **super().get_config(),
            "num_batches": self.num_batches,
            "batch_size": self.batch_size,
            "start_step": self.start_step,
            "includes_batch": self.includes_batch,
            "label_size": self.label_size,
        }


def _require_int32(labels):
    is_kept = ops.equal(ops.cast(ops.cast(labels, "int32"), labels.dtype), labels)
    return backend.require(ops.all(is_kept), INT32_LABELS)
