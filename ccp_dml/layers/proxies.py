"""Proxies: trainable points that represent the classes in the embedding space."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from ccp_dml import backend
from ccp_dml.checks import check_whole_number
from ccp_dml.distribution import update_copies
from ccp_dml.layers.class_sampling import sample_classes


class ProxySample(NamedTuple):
    """The proxies of some classes.

    Attributes:
        rows: Their rows in `Proxies.vectors`, int32 `(r,)`, all different.
        vectors: The contents of these rows `(r, d)`.
        labels: The class of each, int32 `(r,)`.
        negative_counts: How many proxies each represents as a negative, float32 `(r,)`; see
            `ccp_dml.losses.PairwiseLoss`.
    """

    rows: Any
    vectors: Any
    labels: Any
    negative_counts: Any


@keras.saving.register_keras_serializable("ccp_dml")
class Proxies(keras.layers.Layer):
    """Several trainable proxies for each class, with their labels.

    Proxies live in the embedding space *before* normalisation. Row `r` of `vectors` belongs to
    class `r mod num_classes`: the rows are `proxies_per_class` blocks with one proxy per class.

    Args:
        num_classes: Number of training classes C.
        proxies_per_class: Number K of proxies per class. Defaults to 8.
        initializer: Initialiser of the proxies; in rounds of CCP they are replaced by embedded
            samples before training starts. Defaults to `None`: normal with standard deviation
            √(2/d), as in "Proxy Anchor Loss" (Kim et al., CVPR 2020), so that proxies have a length
            of about 1.4, whatever the number of classes.

    Attributes:
        vectors: The proxies, a trainable weight `(K·C, d)`.
        labels: The class of each row of `vectors`, an int32 array `(K·C,)`.

    Call arguments:
        embeddings: `(batch, d)`. The first call, or `build((None, d))`, fixes d.

    Returns:
        The inner products of the embeddings with the proxies, `(batch, K·C)`.

    Raises:
        ValueError: If a count is not positive.

    Example:

    >>> proxies = Proxies(num_classes=3, proxies_per_class=2)
    >>> proxies.build((None, 4))
    >>> tuple(proxies.vectors.shape), proxies.labels.tolist()
    ((6, 4), [0, 1, 2, 0, 1, 2])
    """

    def __init__(
        self,
        num_classes: int,
        proxies_per_class: int = 8,
        initializer: keras.initializers.Initializer | str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_whole_number("num_classes", num_classes, 1)
        check_whole_number("proxies_per_class", proxies_per_class, 1)
        self.num_classes = num_classes
        self.proxies_per_class = proxies_per_class
        if initializer is None:
            initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        self.initializer = keras.initializers.get(initializer)
        self.labels = np.tile(np.arange(num_classes, dtype="int32"), proxies_per_class)

    def build(self, input_shape):
        self.vectors = self.add_weight(
            shape=(self.proxies_per_class * self.num_classes, input_shape[-1]),
            initializer=self.initializer,
            name="vectors",
        )

    def call(self, embeddings):
        return ops.matmul(embeddings, ops.transpose(self.vectors))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.proxies_per_class * self.num_classes)

    def sample(self, labels, num_others: int, seed, stream: int) -> ProxySample:
        """Draws the proxies of the classes of a batch and of others, without replacement.

        Args:
            labels: Classes of the samples `(n,)`.
            num_others: The least number of other classes.
            seed: See `sample_classes`, which draws them.
            stream: Likewise.

        Returns:
            The proxies of `min(num_classes, n + num_others)` classes. A proxy of one of the `u`
            classes of the labels represents itself, one of the `s` others `(num_classes − u) / s`
            proxies.
        """
        classes, is_own = sample_classes(labels, self.num_classes, num_others, seed, stream)
        num_own = ops.sum(ops.cast(is_own, "float32"))
        num_drawn = ops.cast(ops.shape(classes)[0], "float32") - num_own
        stands_for = (self.num_classes - num_own) / ops.maximum(num_drawn, 1.0)
        negative_counts = ops.where(is_own, 1.0, stands_for)
        blocks = self.num_classes * ops.arange(self.proxies_per_class, dtype="int32")
        rows = ops.reshape(blocks[:, None] + classes, (-1,))
        return ProxySample(
            rows,
            backend.read_rows(self.vectors, rows),
            ops.tile(classes, (self.proxies_per_class,)),
            ops.tile(negative_counts, (self.proxies_per_class,)),
        )

    def by_class(self) -> np.ndarray:
        """Returns the proxies grouped by class, a copy `(num_classes, proxies_per_class, d)`."""
        vectors = ops.convert_to_numpy(self.vectors)
        blocks = vectors.reshape(self.proxies_per_class, self.num_classes, -1)
        return blocks.transpose(1, 0, 2)

    def assign_by_class(self, vectors: np.ndarray, first_class: int = 0):
        """Replaces the proxies of all classes, or of consecutive ones.

        Args:
            vectors: `(n, proxies_per_class, d)`.
            first_class: The first of the n classes. Defaults to 0.
        """
        blocks = np.swapaxes(vectors, 0, 1).reshape(-1, self.vectors.shape[1])
        if len(vectors) == self.num_classes:
            self.vectors.assign(blocks)
            return
        starts = first_class + self.num_classes * np.arange(self.proxies_per_class)
        rows = (starts[:, None] + np.arange(len(vectors))).ravel()
        # An assignment would copy all of them.
        update_copies(
            self.vectors,
            backend.write_rows,
            ops.convert_to_tensor(rows, "int32"),
            ops.convert_to_tensor(blocks, self.vectors.dtype),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "proxies_per_class": self.proxies_per_class,
            "initializer": keras.initializers.serialize(self.initializer),
        }
