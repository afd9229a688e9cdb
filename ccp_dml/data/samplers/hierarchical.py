"""Batches of related classes, from a few super-classes."""

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_whole_number, list_first
from ccp_dml.data.samplers.passes import (
    Groups,
    batches_of_passes,
    inclusion_probabilities,
    visit_groups,
)
from ccp_dml.data.samplers.samples_by_class import check_batch

_SHOWN = 3


def hierarchical_batches(
    labels: np.ndarray,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
    *,
    super_classes: np.ndarray,
    super_classes_per_batch: float = 2,
) -> tf.data.Dataset:
    """Yields endless batches of classes from a few super-classes, such as bicycles and sofas.

    Classes of one super-class are similar, so that a batch has harder negatives than a batch of
    arbitrary classes. A pass has just enough batches to draw as many classes as there are. Within
    it a super-class is visited in proportion to its number of classes, rounded up or down at
    random; its visits go through its classes in random order, and those of a class through its
    samples. A batch contains no super-class and no class twice. A super-class that would need more
    than one place per batch appears once in every batch.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        classes_per_batch: Number of classes in a batch, a multiple of `super_classes_per_batch`.
        samples_per_class: Number of samples of each of them.
        seed: Determines the order.
        first_step: Number of batches to skip, which takes no time. Defaults to 0.
        super_classes: The super-class of each sample, any labels `(n,)`, the same for all samples
            of a class.
        super_classes_per_batch: Number of super-classes in a batch. Defaults to 2.

    Returns:
        A dataset of int64 vectors `(classes_per_batch · samples_per_class,)`, indices into
        `labels`; the samples of a class are next to each other, and so are the classes of a
        super-class.

    Raises:
        ValueError: If there are no samples, shapes do not fit, a count is not positive, there are
            fewer classes or super-classes than a batch needs, a class has two super-classes, or a
            super-class has fewer classes than a batch needs from it.

    Example:

    >>> labels, super_classes = np.arange(12) // 2, np.repeat(["birds", "cars"], 6)
    >>> batches = hierarchical_batches(
    ...     labels, 2, 2, seed=0, super_classes=super_classes, super_classes_per_batch=1
    ... )
    >>> {len(set(super_classes[batch])) for batch in batches.take(20).as_numpy_iterator()}
    {1}
    """
    classes = Groups(labels)
    check_batch(len(classes.sizes), classes_per_batch, samples_per_class)
    groups = _group_classes(classes, np.asarray(super_classes))
    count = len(groups.sizes)
    chosen = check_whole_number("super_classes_per_batch", super_classes_per_batch, 1, count)
    classes_each, rest = divmod(classes_per_batch, chosen)
    if rest:
        raise ValueError(
            f"classes_per_batch must be a multiple of super_classes_per_batch, {chosen}; got "
            f"{classes_per_batch}"
        )
    small = np.flatnonzero(groups.sizes < classes_each)
    if small.size:
        names = [f"{groups.names[group]} ({groups.sizes[group]})" for group in small]
        raise ValueError(
            f"a batch takes {classes_each} classes of each super-class, but some have fewer: "
            f"{list_first(names, _SHOWN)}; increase super_classes_per_batch or decrease "
            "classes_per_batch"
        )
    batch_size = classes_per_batch * samples_per_class
    batches_per_pass = -(-len(classes.sizes) // classes_per_batch)
    probabilities = inclusion_probabilities(groups.sizes, chosen)

    def draw_pass(generator):
        visits = visit_groups(probabilities, batches_per_pass, generator)
        drawn_classes = groups.deal(visits, classes_each, generator)
        samples = classes.deal(drawn_classes, samples_per_class, generator)
        return samples.reshape(batches_per_pass, batch_size)

    return batches_of_passes(
        draw_pass, batches_per_pass, batch_size, seed, "hierarchical batches", first_step
    )


def _group_classes(classes, super_classes):
    """Groups the classes, as positions in `classes`, by super-class."""
    if super_classes.shape != classes.group_of.shape:
        raise ValueError(
            f"super_classes must be ({len(classes.group_of)},) like the labels; got "
            f"{super_classes.shape}"
        )
    first_sample = np.unique(classes.group_of, return_index=True)[1]
    super_labels = super_classes[first_sample]
    other = np.flatnonzero(super_classes != super_labels[classes.group_of])
    if other.size:
        label = classes.group_of[other[0]]
        raise ValueError(
            f"class {classes.names[label]} is in two super-classes: {super_labels[label]} and "
            f"{super_classes[other[0]]}"
        )
    return Groups(super_labels)
