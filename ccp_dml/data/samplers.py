"""Samplers: pipelines of the indices of samples, balanced over the classes.

Samplers only know the labels and yield indices, so that nothing is read that is not used. All work
is done by `tf.data` on whole vectors, once for each pass over the classes.
"""

import zlib

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_at_least


def balanced_batches(
    labels: np.ndarray,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Yields batches, without end, of several samples of each of several classes.

    Classes come in random order; each is visited once before any is visited again, and a batch
    never holds a class twice. A visit takes samples of the class without replacement until they run
    out: always those that were used least so far, at random among equals, so that a visit repeats a
    sample only if the class has fewer than `samples_per_class`.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Determines the order.
        first_step: Number of batches to pass over, which takes the time to draw them but not to
            put them together. Defaults to 0.

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
    check_at_least("classes_per_batch", classes_per_batch, 1)
    check_at_least("samples_per_class", samples_per_class, 1)
    by_class = _SamplesByClass(labels)
    if classes_per_batch > by_class.num_classes:
        raise ValueError(
            f"a batch of {classes_per_batch} classes cannot be drawn from "
            f"{by_class.num_classes} classes"
        )

    def one_pass(state, step):
        uses, previous_order, started = state
        uses, draws = _draw_least_used(
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
            # Visits of the batch that a pass began and the next one completes.
            tf.zeros([0, samples_per_class], tf.int64),
        )
    passes = tf.data.Dataset.counter().scan(initial_state, one_pass)
    return passes.map(pass_over).unbatch()


def class_draws(labels: np.ndarray, seed: int) -> tf.data.Dataset:
    """Yields draws, without end, of one sample of every class, in class order.

    The draws of a class are without replacement until its samples run out.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        seed: Determines the draws.

    Returns:
        A dataset of int64 vectors `(C,)`, indices into `labels`, in ascending order of the classes.

    Raises:
        ValueError: If there are no samples.
    """
    by_class = _SamplesByClass(labels)

    def one_draw(uses, step):
        uses, draws = _draw_least_used(by_class, uses, 1, stateless_seed(seed, "draws", step))
        return uses, draws[:, 0]

    with tf.device("CPU"):
        initial_uses = tf.zeros(by_class.num_samples, tf.int64)
    return tf.data.Dataset.counter().scan(initial_uses, one_draw)


def stateless_seed(seed: int, purpose: str, *steps: tf.Tensor) -> tf.Tensor:
    """A seed for stateless random numbers that no other purpose or step shares.

    Args:
        seed: The seed of the experiment.
        purpose: What the numbers are for.
        *steps: Integer scalars.

    Returns:
        int64 `(2,)`.
    """
    folded = tf.constant([seed, zlib.crc32(purpose.encode())], tf.int64)
    for step in steps:
        folded = tf.random.experimental.stateless_fold_in(folded, step)
    return folded


class _SamplesByClass:
    """The samples sorted by class.

    Its vectors are tensors, which a graph refers to; it would hold copies of arrays.

    Attributes:
        samples: Indices of the samples, those of a class next to each other `(n,)`.
        class_of: The class of each of them, 0…C − 1 `(n,)`.
        starts: Where each class starts `(C,)`.
        sizes: Number of samples of each class `(C,)`.
    """

    def __init__(self, labels):
        labels = np.asarray(labels)
        if labels.ndim != 1 or not labels.size:
            raise ValueError(f"labels must be (n,) with at least one sample; got {labels.shape}")
        samples = np.argsort(labels, kind="stable")
        in_order = labels[samples]
        starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
        sizes = np.diff(starts, append=len(labels))
        self.num_samples, self.num_classes = len(labels), len(sizes)
        class_of = np.repeat(np.arange(self.num_classes), sizes)
        with tf.device("CPU"):
            self.samples, self.class_of, self.starts, self.sizes = map(
                tf.constant, (samples, class_of, starts, sizes)
            )


def _draw_least_used(by_class, uses, samples_per_class, seed):
    """Draws the least used samples of every class.

    Args:
        by_class: A `_SamplesByClass`.
        uses: How often each sample (in the order of `by_class`) was drawn so far, int64 `(n,)`.
        samples_per_class: Number of samples to draw of each class.
        seed: Stateless seed `(2,)`.

    Returns:
        The new `uses`, and indices of samples `(C, samples_per_class)`.
    """
    # Within a class the counts differ by one at most, so that one number can sort by class, then by
    # count, then at random.
    least = tf.math.segment_min(uses, by_class.class_of)
    newer = uses - tf.gather(least, by_class.class_of)
    tie_break = tf.random.stateless_uniform([by_class.num_samples], seed=seed, dtype=tf.float64)
    keys = tf.cast(2 * by_class.class_of + newer, tf.float64) + tie_break
    order = tf.argsort(keys)
    # A class with fewer samples starts over.
    ranks = tf.range(samples_per_class, dtype=tf.int64) % by_class.sizes[:, None]
    drawn = tf.gather(order, by_class.starts[:, None] + ranks)
    ones = tf.ones(tf.size(drawn), tf.int64)
    uses = tf.tensor_scatter_nd_add(uses, tf.reshape(drawn, [-1, 1]), ones)
    return uses, tf.gather(by_class.samples, drawn)


def _draw_class_order(previous_order, classes_per_batch, step, seed):
    """A random order of the classes that completes the last batch with classes it does not hold.

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
