"""What training draws: balanced batches, and pools to choose proxies from."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_at_least
from ccp_dml.data.samplers import balanced_batches, class_draws, stateless_seed
from ccp_dml.data.samples import LabeledSamples

_POOL_BATCH_SIZE = 256


def training_batches(
    data: LabeledSamples,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Endless training batches, balanced over the classes.

    Args:
        data: The training samples.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Fixes the order of the samples and the augmentation.
        first_step: Number of batches to pass over, without reading an image, for a training that
            goes on from there. Defaults to 0.

    Returns:
        A dataset of `(images, labels)`.

    Raises:
        ValueError: See `balanced_batches`.
    """
    batches = balanced_batches(data.labels, classes_per_batch, samples_per_class, seed, first_step)
    examples = data.training_examples(
        batches,
        classes_per_batch * samples_per_class,
        stateless_seed(seed, "training augmentation"),
        first_step,
    )
    return examples.prefetch(tf.data.AUTOTUNE)


def class_pools(data: LabeledSamples, draws: int, seed: int) -> Callable[[int], tf.data.Dataset]:
    """Pools of samples to choose proxies from, a fresh one for each round.

    A pool is `draws` draws of one sample of every class, in class order, through the training
    augmentation. Round t continues where round t − 1 stopped, so that a class's samples come again
    only when they have run out.

    Args:
        data: The training samples.
        draws: Number of draws b of a pool.
        seed: Fixes the draws and the augmentation.

    Returns:
        A function of the round t = 0, 1, … that returns a dataset of batches of `(images, labels)`:
        the b · C samples of the pool.

    Raises:
        ValueError: If there are no samples or `draws` is not positive.
    """
    check_at_least("draws", draws, 1)
    successive_draws = _SuccessiveDraws(class_draws(data.labels, seed))

    def pool(round_number: int) -> tf.data.Dataset:
        indices = successive_draws.take(round_number * draws, draws)
        round_indices = tf.data.Dataset.from_tensor_slices(indices).batch(_POOL_BATCH_SIZE)
        pool_seed = stateless_seed(seed, "pool augmentation", round_number)
        examples = data.training_examples(round_indices, _POOL_BATCH_SIZE, pool_seed)
        # Keras warns of data sets whose end it does not know.
        num_batches = -(-len(indices) // _POOL_BATCH_SIZE)
        examples = examples.apply(tf.data.experimental.assert_cardinality(num_batches))
        return examples.prefetch(tf.data.AUTOTUNE)

    return pool


class _SuccessiveDraws:
    """Draws of samples, of which a round does not repeat those of all rounds before it."""

    def __init__(self, draws: tf.data.Dataset):
        self._draws = draws
        self._remaining = iter(draws)
        self._position = 0

    def take(self, first: int, count: int) -> np.ndarray:
        """The indices of draws `first` to `first + count - 1`, one draw after the other."""
        if first != self._position:
            self._remaining = iter(self._draws.skip(first))
        self._position = first + count
        return np.concatenate([next(self._remaining).numpy() for _ in range(count)])
