"""Samples by class, and draws of those that were used least."""

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_whole_number


def check_batch(num_classes: int, classes_per_batch: int, samples_per_class: int):
    """Checks that a batch can be drawn.

    Raises:
        ValueError: If a count is not positive, or there are fewer classes than a batch needs.
    """
    check_whole_number("classes_per_batch", classes_per_batch, 1)
    check_whole_number("samples_per_class", samples_per_class, 1)
    if classes_per_batch > num_classes:
        raise ValueError(
            f"a batch of {classes_per_batch} classes cannot be drawn from {num_classes} classes"
        )


class SamplesByClass:
    """The samples sorted by class.

    Its vectors are tensors, which graphs share; of an array, every graph would hold a copy.

    Attributes:
        samples: Indices of the samples, those of a class next to each other `(n,)`.
        class_of: The class of each of them, 0…C − 1 `(n,)`.
        starts: Start of each class `(C,)`.
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


def draw_least_used(by_class, uses, samples_per_class, seed):
    """Draws the least used samples of every class.

    Args:
        by_class: A `SamplesByClass`.
        uses: How often each sample (in the order of `by_class`) was drawn so far, int64 `(n,)`.
        samples_per_class: Number of samples to draw of each class.
        seed: Stateless seed `(2,)`.

    Returns:
        The new `uses`, and indices of samples `(C, samples_per_class)`.
    """
    # Within a class the counts differ by at most one, so that a single number can sort by class,
    # then by count, then at random.
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
