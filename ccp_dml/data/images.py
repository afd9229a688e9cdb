"""Images in memory."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from ccp_dml.data.augmentation import Augmentation
from ccp_dml.data.parallelism import disable_autotuning, map_in_parallel
from ccp_dml.data.preprocessing import Preprocessing
from ccp_dml.data.samples import LabeledSamples

# Of values in 0…1.
_SCALING = "unit"


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledImages(LabeledSamples):
    """Images in memory with their classes.

    Attributes:
        images: `(n, height, width, channels)`, as inputs of a network; in 0…1 if they are to be
            displayed.
        labels: Integers `(n,)`.
        augmentation: Augmentation of a batch of training images. Defaults to none.

    Raises:
        ValueError: If the shapes do not fit.
    """

    images: np.ndarray
    labels: np.ndarray
    augmentation: Augmentation | None = None

    def __post_init__(self):
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                "images must be (n, height, width, channels) and labels (n,); got "
                f"{self.images.shape} and {self.labels.shape}"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    @property
    def preprocessing(self) -> Preprocessing:
        """Turns square images in files into images like these: values in 0…1, without a crop."""
        size = self.image_shape[0]
        return Preprocessing(size, resize_size=size, scaling=_SCALING, channels=self.image_shape[2])

    def subset(self, indices: np.ndarray) -> "LabeledImages":
        return dataclasses.replace(self, images=self.images[indices], labels=self.labels[indices])

    def with_labels(self, labels: np.ndarray) -> "LabeledImages":
        return dataclasses.replace(self, labels=labels)

    def with_preprocessing(self, preprocessing: Preprocessing) -> "LabeledImages":
        if preprocessing.scaling != _SCALING:
            raise ValueError(
                f"scaling of images in memory must be {_SCALING!r}; got {preprocessing.scaling!r}"
            )
        return self

    def training_examples(
        self, batches: tf.data.Dataset, batch_size: int, seed: tf.Tensor, first_step: int = 0
    ) -> tf.data.Dataset:
        images, labels = self._tensors

        def load(step, indices):
            batch = tf.gather(images, indices)
            if self.augmentation is not None:
                batch = self.augmentation(
                    batch, tf.random.experimental.stateless_fold_in(seed, step)
                )
            return batch, tf.gather(labels, indices)

        return disable_autotuning(map_in_parallel(batches.enumerate(first_step), load))

    @functools.cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and labels as tensors that pipelines share: each would hold copies of arrays."""
        return tf.constant(self.images), tf.constant(self.labels)

    def evaluation_images(self, batch_size: int = 256) -> tf.data.Dataset:
        images = tf.data.Dataset.from_tensor_slices(self.images)
        return disable_autotuning(images.batch(batch_size))

    def displayable(self, images: np.ndarray) -> np.ndarray:
        return np.clip(np.round(255 * np.asarray(images)), 0, 255).astype("uint8")
