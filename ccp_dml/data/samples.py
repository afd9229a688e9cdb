"""The interface of labelled samples, wherever their images are, for pipelines and experiments."""

import abc
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ccp_dml.data.preprocessing import Preprocessing

_SHOWN_AT_A_TIME = 64


class LabeledSamples(abc.ABC):
    """Images with their classes, which are read only when a batch needs them.

    Attributes:
        labels: Integers `(n,)`.
        preprocessing: How image files are turned into images like these.
    """

    labels: np.ndarray
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(np.unique(self.labels))

    @property
    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images as inputs of a network."""

    @abc.abstractmethod
    def subset(self, indices: np.ndarray) -> "LabeledSamples":
        """Returns the samples at `indices`, in that order."""

    @abc.abstractmethod
    def with_labels(self, labels: np.ndarray) -> "LabeledSamples":
        """Returns the same images with other labels."""

    @abc.abstractmethod
    def with_preprocessing(self, preprocessing: Preprocessing) -> "LabeledSamples":
        """Returns the same samples with another preprocessing.

        Raises:
            ValueError: If they are not in files and their values are scaled differently.
        """

    @abc.abstractmethod
    def training_examples(
        self, batches: tf.data.Dataset, batch_size: int, seed: tf.Tensor, first_step: int = 0
    ) -> tf.data.Dataset:
        """Returns the images of batches of indices as training sees them, with augmentation.

        Args:
            batches: Vectors of indices, all of `batch_size` except perhaps the last.
            batch_size: Number of indices in a batch.
            seed: Stateless seed `(2,)` that determines the augmentation, whatever the parallelism.
            first_step: Number of the first batch, on which its augmentation depends. Defaults to 0.

        Returns:
            A dataset of batches of `(images, labels)`.
        """

    @abc.abstractmethod
    def evaluation_images(self, batch_size: int = 256) -> tf.data.Dataset:
        """Returns the images of all samples in order, as evaluation sees them, in batches."""

    def show(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the images at `indices`, as evaluation sees them, for display.

        Args:
            indices: `(k,)`.

        Yields:
            uint8 `(height, width, channels)`, red, green and blue or grey.
        """
        for batch in self.subset(indices).evaluation_images(_SHOWN_AT_A_TIME):
            yield from self.displayable(batch.numpy())

    @abc.abstractmethod
    def displayable(self, images: np.ndarray) -> np.ndarray:
        """Converts inputs of a network to uint8, red, green and blue or grey, for display."""
