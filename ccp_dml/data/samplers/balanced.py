"""Batches in which all classes appear equally often."""

import numpy as np
import tensorflow as tf

from ccp_dml.data.samplers.samples_by_class import SamplesByClass, check_batch, draw_least_used
from ccp_dml.data.samplers.seeds import stateless_seed


def balanced_batches(
    labels: np.ndarray,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Yields batches, without end, of several samples of each of several classes.

    Classes appear in random order; each is visited once before any is visited again, and a batch
    never contains a class twice. A visit draws samples of the class without replacement until they
    run out: always those that were used least so far, at random in a tie, so that a visit repeats a
    sample only if the class has fewer than `samples_per_class`.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Determines the order.
        first_step: Number of batches to skip, which takes the time to draw them but not to assemble
            them. Defaults to 0.

    Returns:
        A dataset of int64 vectors `(classes_per_batch · samples_per_class,)`, indices into
        `labels`; the samples of a class are next to each other.

    Raises:
        ValueError: If there are no samples, a count is not positive, or there are fewer classes
            than a batch needs.

    Example:

    >>> labels = np.array([7, 7, 7, 9, 9, 9])
    >>> batch = next(iter(balanced_batches(labels, 2, 2, seed=0)))
    >>> sorted(labels[batch].tolist())
    [7, 7, 9, 9]
    """
    by_class = SamplesByClass(labels)
    check_batch(by_class.num_classes, classes_per_batch, samples_per_class)

    def one_pass(state, step):
        uses, previous_order, started = state
        uses, draws = draw_least_used(
            by_class, uses, samples_per_class, stateless_seed(seed, "samples", step)
        )
        order = _draw_class_order(
            previous_order, classes_per_batch, step, stateless_seed(seed, "classes", step)
        )
        visits = tf.concat([started, tf.gather(draws, order)], axis=0)
        num_batches = tf.shape(visits)[0] // classes_per_batch
        batches = tf.reshape(
            visits[: num_batches * classes_per_batch],
            [num_batches, classes_per_batch * samples_per_class],
        )
        return (uses, order, visits[num_batches * classes_per_batch :]), (step, batches)

    def pass_over(step, batches):
        batches_before = step * by_class.num_classes // classes_per_batch
        return batches[tf.maximum(first_step - batches_before, 0) :]

    with tf.device("CPU"):
        initial_state = (
            tf.zeros(by_class.num_samples, tf.int64),
            tf.range(by_class.num_classes, dtype=tf.int64),
            # Visits of the batch that one pass began and the next one completes.
            tf.zeros([0, samples_per_class], tf.int64),
        )
    passes = tf.data.Dataset.counter().scan(initial_state, one_pass)
    return passes.map(pass_over).unbatch()


def _draw_class_order(previous_order, classes_per_batch, step, seed):
    """Draws an order of the classes that completes the last batch without repeating a class.

    Args:
        previous_order: The order of the pass before, int64 `(C,)`.
        classes_per_batch: Number of classes in a batch, at most C.
        step: Number of passes before this one.
        seed: Stateless seed `(2,)`.

    Returns:
        int64 `(C,)`.
    """
    num_classes = tf.size(previous_order, out_type=tf.int64)
    tie_break = tf.random.stateless_uniform(tf.shape(previous_order), seed=seed, dtype=tf.float64)
    order = tf.cast(tf.argsort(tie_break), tf.int64)
    in_last_batch = (step * num_classes) % classes_per_batch
    missing = (classes_per_batch - in_last_batch) % classes_per_batch
    taken = previous_order[num_classes - in_last_batch :]
    is_taken = tf.reduce_any(order[:, None] == taken[None, :], axis=1)
    is_next = ~is_taken & (tf.cumsum(tf.cast(~is_taken, tf.int64)) <= missing)
    return tf.concat([order[is_next], order[~is_next]], axis=0)
