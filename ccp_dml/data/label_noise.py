"""Deliberately wrong labels, to test how methods deal with them."""

import numpy as np

from ccp_dml.checks import check_at_least, check_at_most
from ccp_dml.data.samplers.seeds import make_generator


def replace_labels(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Replaces the labels of some samples by those of other classes, at random.

    The samples are drawn without replacement, all equally likely; each gets one of the other
    classes, all equally likely, and none keeps its own. Exactly the given share of the labels is
    then wrong. Class sizes change, and a class with few samples may lose all of them.

    Args:
        labels: Integer labels of the samples `(n,)`, of at least two classes if any is replaced.
        share: The share of the samples, 0 to 1; of n samples, `round(share * n)`.
        seed: Determines which samples, and which classes they get.

    Returns:
        The new labels `(n,)`, of the type of the old ones.

    Raises:
        ValueError: If `share` is out of range, or there is no other class.

    Example:

    >>> labels = np.repeat([3, 5, 8], 4)
    >>> int(np.sum(replace_labels(labels, 0.25, seed=0) != labels))
    3
    """
    check_at_least("share", share, 0)
    check_at_most("share", share, 1)
    labels = np.asarray(labels)
    count = round(share * len(labels))
    if not count:
        return labels
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels must have at least 2 classes to be replaced; got {len(classes)}")
    generator = make_generator(seed, "label noise")
    replaced = generator.permutation(len(labels))[:count]
    # One of the C − 1 classes that follow cyclically.
    steps = generator.integers(1, len(classes), count)
    noisy = labels.copy()
    noisy[replaced] = classes[(places[replaced] + steps) % len(classes)]
    return noisy
