"""Images in memory and the batches made of them."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ccp_dml.data.augmentation import Augmentation
from ccp_dml.data.samplers import balanced_batches, class_draws, stateless_seed

_POOL_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class LabeledImages:
    """Images in memory with their classes.

    Attributes:
        images: `(n, height, width, channels)`.
        labels: Integers `(n,)`.

    Raises:
        ValueError: If the shapes do not fit.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                "images must be (n, height, width, channels) and labels (n,); got "
                f"{self.images.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(np.unique(self.labels))

    def subset(self, indices: np.ndarray) -> "LabeledImages":
        """The samples at `indices`, in that order."""
        return LabeledImages(self.images[indices], self.labels[indices])

    def relabeled(self, labels: np.ndarray) -> "LabeledImages":
        """The same images with other labels."""
        return dataclasses.replace(self, labels=labels)


def training_batches(
    data: LabeledImages,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    augmentation: Augmentation | None = None,
) -> tf.data.Dataset:
    """Endless training batches, balanced over the classes.

    Args:
        data: The training samples.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Fixes the order of the samples and the augmentation.
        augmentation: Applied to the images of each batch. Defaults to none.

    Returns:
        A dataset of `(images, labels)`.

    Raises:
        ValueError: See `balanced_batches`.
    """
    batches = balanced_batches(data.labels, classes_per_batch, samples_per_class, seed)
    augmentation_seed = stateless_seed(seed, "training augmentation")
    return _load(batches, data, augmentation, augmentation_seed).prefetch(tf.data.AUTOTUNE)


def class_pools(
    data: LabeledImages,
    draws: int,
    seed: int,
    augmentation: Augmentation | None = None,
) -> Callable[[int], tf.data.Dataset]:
    """Pools of samples to choose proxies from, a fresh one for each round.

    A pool is `draws` draws of one sample of every class, in class order. Round t continues where
    round t − 1 stopped, so that a class's samples come again only when they have run out.

    Args:
        data: The training samples.
        draws: Number of draws b of a pool.
        seed: Fixes the draws and the augmentation.
        augmentation: The training augmentation. Defaults to none.

    Returns:
        A function of the round t = 0, 1, … that returns a dataset of batches of `(images, labels)`:
        the b · C samples of the pool.

    Raises:
        ValueError: If there are no samples or `draws` is not positive.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    indices = class_draws(data.labels, seed)

    def pool(round_number: int) -> tf.data.Dataset:
        of_round = indices.skip(round_number * draws).take(draws)
        pool_seed = stateless_seed(seed, "pool augmentation", round_number)
        pool = _load(of_round.rebatch(_POOL_BATCH_SIZE), data, augmentation, pool_seed)
        # Keras warns of data sets whose end it does not know.
        num_batches = -(-draws * data.num_classes // _POOL_BATCH_SIZE)
        return pool.apply(tf.data.experimental.assert_cardinality(num_batches))

    return pool


def _load(batches, data, augmentation, seed):
    images, labels = tf.constant(data.images), tf.constant(data.labels)

    def load(step, indices):
        batch = tf.gather(images, indices)
        if augmentation is not None:
            batch = augmentation(batch, tf.random.experimental.stateless_fold_in(seed, step))
        return batch, tf.gather(labels, indices)

    return batches.enumerate().map(load, num_parallel_calls=tf.data.AUTOTUNE)
