"""Checks of the batches that a model is fitted to, outside of the training step.

Within the step, XLA drops assertions, and a replica without samples fails somewhere in a
convolution.
"""

import contextlib
import dataclasses
import math
import types
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ccp_dml.layers.memory import INT32_LABELS

# The size of the batches into which `fit`, `evaluate` and `predict` split arrays.
DEFAULT_BATCH_SIZE = 32

# How dtypes of text begin, in TensorFlow and NumPy.
_TEXT = ("str", "bytes", "object")


@dataclasses.dataclass(frozen=True)
class BatchChecks:
    """The conditions that every batch must satisfy.

    Args:
        num_shares: Number of shares into which the devices divide a batch, each with at least one
            sample. Defaults to 1.
        equal_shares: Whether the shares must have equally many samples. Defaults to `False`.
        memory_batch_size: The exact number of samples of a batch. Defaults to `None`: any number.
        num_classes: Labels are 0…num_classes − 1. Defaults to `None`: any.
        several_labels: Whether labels may be `(n, k)`; see `unpack_batch`. Defaults to `False`.
    """

    num_shares: int = 1
    equal_shares: bool = False
    memory_batch_size: int | None = None
    num_classes: int | None = None
    several_labels: bool = False

    def check_fit(
        self,
        x,
        y,
        batch_size=None,
        epochs=1,
        *,
        validation_split=0.0,
        initial_epoch=0,
        steps_per_epoch=None,
        **options,
    ):
        """Checks the arguments of `keras.Model.fit`, as far as possible before training.

        Args:
            x: Inputs, or batches of inputs and labels.
            y: Labels, if `x` is an array.
            batch_size: Number of samples of a batch, if `x` is an array.
            epochs: See `keras.Model.fit`.
            validation_split: See `keras.Model.fit`.
            initial_epoch: See `keras.Model.fit`.
            steps_per_epoch: See `keras.Model.fit`.
            **options: Not used.

        Returns:
            What to pass instead of `x`: a data set or generator whose batches are checked one by
            one, or `x` itself.

        Raises:
            ValueError: If a check fails.
        """
        if isinstance(x, tf.data.Dataset):
            return self.check_dataset(x)
        if isinstance(x, types.GeneratorType):
            return (self.check_batch(batch) for batch in x)
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x, self.check_batch)
        if isinstance(y, np.ndarray):
            _check_kind(y, self.several_labels)
            train = math.floor(len(y) * (1 - validation_split))
            # An epoch continues where the last one ended.
            steps = steps_per_epoch and steps_per_epoch * (epochs - initial_epoch)
            self.check_arrays(y[:train], batch_size or DEFAULT_BATCH_SIZE, steps)
        return x

    def check_arrays(self, labels, batch_size: int, steps: int | None = None):
        """Checks the batches that arrays are split into.

        Args:
            labels: Labels of all samples.
            batch_size: Number of samples of a batch.
            steps: Number of batches that are read. A last batch with fewer samples is checked only
                if they include it. Defaults to `None`: all.

        Raises:
            ValueError: If a check fails.
        """
        labels = np.asarray(labels)
        sizes = [min(batch_size, len(labels))]
        reads_all = steps is None or steps > len(labels) // batch_size
        if reads_all and len(labels) % batch_size:
            sizes.append(len(labels) % batch_size)
        for size in sizes:
            for is_right, message in self._size_checks(size):
                if not is_right:
                    raise ValueError(f"{message}; got {size}")
        if labels.dtype.kind in "iuf" and labels.size:
            for is_right, message in self._label_checks(labels):
                if not is_right.all():
                    raise ValueError(f"{message}; got {labels[~is_right][0]}")

    def check_batch(self, batch):
        """Checks a batch whose labels are known.

        Args:
            batch: Inputs and labels.

        Returns:
            The same.

        Raises:
            ValueError: If a check fails.
        """
        labels = _find_labels(batch)
        if labels is not None:
            labels = ops.convert_to_numpy(labels)
            _check_kind(labels, self.several_labels)
            self.check_arrays(labels, len(labels) or 1)
        return batch

    def check_dataset(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Checks batches when they are read, which costs no more than looking at the labels.

        Args:
            batches: Of inputs and labels.

        Returns:
            The same batches. A batch that fails a check raises an `InvalidArgumentError`, which
            `explain_errors` turns into a readable error.

        Raises:
            ValueError: If all batches are known to have the wrong size, or labels that are not
                class numbers.
        """
        labels = _find_labels(batches.element_spec)
        if not isinstance(labels, tf.TensorSpec):
            return batches
        _check_kind(labels, self.several_labels)
        if not labels.shape.rank:
            return batches
        if labels.shape[0] is not None:
            self.check_arrays(np.empty(labels.shape[0], "O"), labels.shape[0])

        def check(*batch):
            labels = _find_labels(batch)
            checks = [*self._size_checks(tf.shape(labels)[0])]
            if labels.dtype.is_integer:
                # The bounds do not fit into every dtype.
                checks += self._label_checks(tf.cast(labels, tf.int64))
            elif labels.dtype.is_floating:
                checks += self._label_checks(labels)
            assertions = [
                tf.debugging.Assert(tf.reduce_all(is_right), [message])
                for is_right, message in checks
            ]
            with tf.control_dependencies(assertions):
                return tf.nest.map_structure(tf.identity, batch)

        return batches.map(check)

    @contextlib.contextmanager
    def explain_errors(self) -> Iterator[None]:
        """A context in which to train on batches that are checked.

        Raises:
            ValueError: Instead of the `InvalidArgumentError` of a batch that fails a check.
        """
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            checks = [*self._size_checks(0), *self._label_checks(0)]
            failed = next((message for _, message in checks if message in str(error)), None)
            if failed is None:
                raise
            raise ValueError(failed) from error

    def _size_checks(self, size):
        if self.equal_shares:
            yield (
                size % self.num_shares == 0,
                f"the {self.num_shares} shares of a batch must be equal: the size of every "
                f"batch, including the last, must be a multiple of {self.num_shares}",
            )
        yield (
            size >= self.num_shares,
            f"a batch must have a sample for each of the {self.num_shares} replicas",
        )
        if self.memory_batch_size is not None:
            yield (
                size == self.memory_batch_size,
                f"the memory was made for batches of {self.memory_batch_size} samples, so every "
                "batch must have that many",
            )

    def _label_checks(self, labels):
        if self.num_classes is not None:
            yield (
                (labels >= 0) & (labels <= self.num_classes - 1),
                f"training labels must be 0…{self.num_classes - 1}; see ccp_dml.data.contiguous",
            )
        if self.memory_batch_size is not None:
            yield (labels >= -(2**31)) & (labels < 2**31), INT32_LABELS


class _CheckedPyDataset(keras.utils.PyDataset):
    """The batches of another data set, checked one by one."""

    def __init__(self, batches, check):
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self._batches = batches
        self._check = check

    def __getitem__(self, index):
        return self._check(self._batches[index])

    @property
    def num_batches(self):
        return self._batches.num_batches

    def on_epoch_begin(self):
        self._batches.on_epoch_begin()

    def on_epoch_end(self):
        self._batches.on_epoch_end()


def _find_labels(batch):
    _, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return labels


def unpack_batch(data, several_labels: bool = False):
    """Unpacks a batch as `keras.Model.fit` gets it.

    Args:
        data: Inputs and labels, `(n,)` or `(n, 1)`.
        several_labels: Whether labels may also be `(n, k)`, k for each sample. Defaults to `False`.

    Returns:
        The inputs, and the labels `(n,)` or `(n, k)`.

    Raises:
        ValueError: If there are no labels, if they have another shape or kind, or if there are
            sample weights, into which Keras also turns class weights.
    """
    inputs, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if labels is None:
        raise ValueError("metric learning needs labels: pass (inputs, labels)")
    if sample_weight is not None:
        raise ValueError(
            "metric losses are computed from pairs: sample_weight must be None, and so must "
            "class_weight"
        )
    labels = ops.convert_to_tensor(labels)
    _check_kind(labels, several_labels)
    if several_labels and len(labels.shape) == 2 and labels.shape[1] != 1:
        return inputs, labels
    return inputs, ops.reshape(labels, [-1])


def _check_kind(labels, several_labels):
    dtype = str(getattr(labels.dtype, "name", labels.dtype))
    is_text = dtype.startswith(_TEXT)
    shape = labels.shape
    # TensorFlow may not know the rank.
    rank = shape.rank if isinstance(shape, tf.TensorShape) else len(shape)
    if several_labels and not is_text:
        if rank not in (1, 2):
            raise ValueError(f"labels must be (n,) or (n, k); got {dtype} of shape {shape}")
        return
    is_column = rank == 2 and shape[1] in (None, 1)
    if is_text or not (rank in (None, 1) or is_column):
        raise ValueError(
            "labels must be the numbers of the classes, (n,) or (n, 1), and not their names or "
            f"one-hot vectors; got {dtype} of shape {shape} (several labels per sample need a "
            "loss with same_class, and nothing that is learned for each class, such as proxies)"
        )
