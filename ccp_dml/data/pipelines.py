"""Pipelines for training: batches, and pools to choose proxies from."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ccp_dml.checks import check_one_of, check_whole_number
from ccp_dml.data.parallelism import PREFETCHED_BATCHES
from ccp_dml.data.samplers import SAMPLERS, class_draws, stateless_seed
from ccp_dml.data.samples import LabeledSamples

_POOL_BATCH_SIZE = 256


def training_batches(
    data: LabeledSamples,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
    sampler: str | Callable[..., tf.data.Dataset] = "balanced",
    **params: Any,
) -> tf.data.Dataset:
    """Makes an endless dataset of batches with several samples of each of several classes.

    Args:
        data: The training samples.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Determines the order of the samples and the augmentation.
        first_step: Number of batches to skip, without reading any image, to resume training from
            there. Defaults to 0.
        sampler: How samples are chosen: one of `ccp_dml.data.SAMPLERS`, or a function with the same
            arguments, the labels and the four above. Defaults to `"balanced"`.
        **params: Further arguments of the sampler.

    Returns:
        A dataset of `(images, labels)` with static shapes.

    Raises:
        ValueError: If the sampler is unknown; see also `balanced_batches` and the others.
    """
    if isinstance(sampler, str):
        check_one_of("sampler", sampler, SAMPLERS)
        sampler = SAMPLERS[sampler]
    batch_size = classes_per_batch * samples_per_class
    batches = sampler(data.labels, classes_per_batch, samples_per_class, seed, first_step, **params)
    examples = data.training_examples(
        batches, batch_size, stateless_seed(seed, "training augmentation"), first_step
    )

    def set_size(images, labels):
        return (
            tf.ensure_shape(images, [batch_size, *images.shape[1:]]),
            tf.ensure_shape(labels, [batch_size]),
        )

    # An endless dataset has only full batches, which XLA and replicas have to know before the step.
    return examples.map(set_size).prefetch(PREFETCHED_BATCHES)


def class_pools(data: LabeledSamples, draws: int, seed: int) -> "ClassPools":
    """Makes pools of samples to choose proxies from, a fresh one for each round.

    A pool is `draws` draws of one sample of every class, in class order, through the training
    augmentation. Round t continues where round t − 1 stopped, so that samples of a class repeat
    only after all of them have been drawn.

    Args:
        data: The training samples.
        draws: Number of draws b of a pool.
        seed: Determines the draws and the augmentation.

    Returns:
        A function of the round t = 0, 1, … that returns a dataset of batches of `(images, labels)`:
        the b · C samples of the pool.

    Raises:
        ValueError: If there are no samples or `draws` is not positive.
    """
    check_whole_number("draws", draws, 1)
    return ClassPools(data, draws, seed)


class ClassPools:
    """What `class_pools` returns: a function of the round and, optionally, of some classes.

    Attributes:
        draws: Number of draws b of a pool.

    Call arguments:
        round_number: t, from 0.
        classes: The classes to return samples of, a range within 0…C − 1. Defaults to `None`: all.
            Samples and augmentation are the same as in the whole pool, which requires reading a few
            other samples.

    Returns:
        A dataset of batches of `(images, labels)`, draw by draw in class order.
    """

    def __init__(self, data: LabeledSamples, draws: int, seed: int):
        self.draws = draws
        self._data = data
        self._seed = seed
        self._num_classes = data.num_classes
        self._all_draws = class_draws(data.labels, seed)
        self._restart()

    def _restart(self):
        self._next_draws = iter(self._all_draws)
        self._round, self._indices = -1, None

    def __call__(self, round_number: int, classes: range | None = None) -> tf.data.Dataset:
        indices = self._draw(round_number)
        if classes is None:
            parts = [(0, -(-len(indices) // _POOL_BATCH_SIZE))]
        else:
            parts = _batches_with(classes, self.draws, self._num_classes)
        seed = stateless_seed(self._seed, "pool augmentation", round_number)
        pools = []
        for first, last in parts:
            batches = tf.data.Dataset.range(first, last).map(
                lambda number: indices[number * _POOL_BATCH_SIZE : (number + 1) * _POOL_BATCH_SIZE]
            )
            examples = self._data.training_examples(batches, _POOL_BATCH_SIZE, seed, first)
            if classes is not None:
                examples = examples.enumerate(first).map(self._keep(classes))
            pools.append(examples)
        pool = functools.reduce(tf.data.Dataset.concatenate, pools)
        # Keras warns about data sets of unknown length.
        num_batches = sum(last - first for first, last in parts)
        pool = pool.apply(tf.data.experimental.assert_cardinality(num_batches))
        return pool.prefetch(PREFETCHED_BATCHES)

    def _draw(self, round_number) -> tf.Tensor:
        """Returns indices of the samples of a round's pool, draw by draw `(b · C,)`."""
        if round_number < self._round:
            self._restart()
        while self._round < round_number:
            draws = [next(self._next_draws) for _ in range(self.draws)]
            self._round += 1
            if self._round == round_number:
                with tf.device("CPU"):
                    self._indices = tf.concat(draws, axis=0)
        return self._indices

    def _keep(self, classes):
        def keep(number, examples):
            images, labels = examples
            position = number * _POOL_BATCH_SIZE + tf.range(tf.size(labels, tf.int64))
            class_of = position % self._num_classes
            is_kept = (class_of >= classes.start) & (class_of < classes.stop)
            return tf.boolean_mask(images, is_kept), tf.boolean_mask(labels, is_kept)

        return keep


def _batches_with(classes, draws, num_classes):
    """Finds the batches of a pool with samples of the classes, as pairs of first and end."""
    parts = []
    for draw in range(draws):
        start = draw * num_classes + classes.start
        first = start // _POOL_BATCH_SIZE
        last = -(-(start + len(classes)) // _POOL_BATCH_SIZE)
        if parts and first <= parts[-1][1]:
            parts[-1] = (parts[-1][0], last)
        else:
            parts.append((first, last))
    return parts
