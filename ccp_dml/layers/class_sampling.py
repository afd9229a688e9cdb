"""Sampling of the classes of a training step, for more classes than a step can compare."""

from keras import ops

from ccp_dml.randomness import permute


def sample_classes(labels, num_classes: int, num_others: int, seed, stream: int):
    """Draws classes without replacement: those of the labels, and others at random.

    As many classes are drawn as there are labels, plus `num_others`, so that their number is known
    before the labels are: a repeated label makes room for one more of the others. All others are
    equally likely. Time and memory hardly grow with `num_classes`, only with its square root.

    Args:
        labels: Classes of the samples `(n,)`, 0…num_classes − 1; values outside this range are
            clipped to it.
        num_classes: Number of classes C.
        num_others: Smallest number of other classes; if there are fewer, all are drawn.
        seed: An integer scalar; equal seeds give equal draws, on all replicas.
        stream: See `ccp_dml.randomness.uniform`.

    Returns:
        The classes, int32 `(min(C, n + num_others),)`, all different, and a boolean vector that
        says which of them are those of the labels.

    Example:

    >>> classes, is_own = sample_classes(np.array([7, 7, 3]), 10**6, 2, seed=0, stream=0)
    >>> classes.shape[0], ops.convert_to_numpy(classes)[is_own].tolist()
    (5, [7, 3])
    """
    labels = ops.clip(ops.cast(labels, "int32"), 0, num_classes - 1)
    num_labels = ops.shape(labels)[0]
    count = num_labels + num_others
    # A Python number if it is known, so that the resulting shapes are known too.
    count = min(count, num_classes) if isinstance(count, int) else ops.minimum(count, num_classes)
    drawn = permute(ops.arange(count, dtype="int32"), num_classes, seed, stream)
    # With the labels in front, at least `count` candidates do not repeat an earlier one.
    candidates = ops.concatenate([labels, drawn], axis=0)
    is_first = ops.concatenate([_is_first(labels), ~_is_among(drawn, labels)], axis=0)
    places = ops.cumsum(ops.cast(is_first, "int32")) - 1
    # Candidates that repeat an earlier one, and those beyond `count`, go to one extra place.
    places = ops.where(is_first, ops.minimum(places, count), count)
    classes = ops.scatter(places[:, None], candidates, (count + 1,))[:count]
    num_own = ops.sum(ops.cast(is_first[:num_labels], "int32"))
    return classes, ops.arange(count, dtype="int32") < num_own


def _is_first(labels):
    """Returns for each label whether no earlier one equals it; their order stays as it is."""
    order = ops.argsort(labels)
    in_order = ops.take(labels, order)
    before = ops.concatenate([ops.full((1,), -1, dtype="int32"), in_order[:-1]], axis=0)
    return ops.scatter(order[:, None], ops.cast(in_order != before, "int32"), ops.shape(labels)) > 0


def _is_among(values, labels):
    in_order = ops.sort(labels)
    places = ops.searchsorted(in_order, values)
    return ops.take(in_order, ops.minimum(places, ops.shape(labels)[0] - 1)) == values
