"""Batches in which classes appear in proportion to their size."""

import numpy as np
import tensorflow as tf

from ccp_dml.data.samplers.passes import (
    Groups,
    batches_of_passes,
    inclusion_probabilities,
    visit_groups,
)
from ccp_dml.data.samplers.samples_by_class import check_batch


def proportional_batches(
    labels: np.ndarray,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Yields endless batches in which larger classes appear more often.

    All samples then appear about equally often, as in batches of random samples, but with positive
    pairs. A pass has just enough batches to draw as many samples as there are. Within it a class is
    visited in proportion to its number of samples, rounded up or down at random, and its visits go
    through its samples in random order. A batch never contains a class twice, so that a class that
    would need more than one place per batch appears once in every batch.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Determines the order.
        first_step: Number of batches to skip, which takes no time. Defaults to 0.

    Returns:
        A dataset of int64 vectors `(classes_per_batch · samples_per_class,)`, indices into
        `labels`; the samples of a class are next to each other.

    Raises:
        ValueError: If there are no samples, a count is not positive, or there are fewer classes
            than a batch needs.

    Example:

    >>> labels = np.array([7] * 8 + [9] * 4 + [5] * 4)
    >>> first_pass = proportional_batches(labels, 1, 2, seed=0).take(8)
    >>> sorted(int(labels[batch[0]]) for batch in first_pass.as_numpy_iterator())
    [5, 5, 7, 7, 7, 7, 9, 9]
    """
    classes = Groups(labels)
    check_batch(len(classes.sizes), classes_per_batch, samples_per_class)
    batch_size = classes_per_batch * samples_per_class
    batches_per_pass = -(-len(classes.group_of) // batch_size)
    probabilities = inclusion_probabilities(classes.sizes, classes_per_batch)

    def draw_pass(generator):
        visits = visit_groups(probabilities, batches_per_pass, generator)
        samples = classes.deal(visits, samples_per_class, generator)
        return samples.reshape(batches_per_pass, batch_size)

    return batches_of_passes(
        draw_pass, batches_per_pass, batch_size, seed, "proportional batches", first_step
    )
