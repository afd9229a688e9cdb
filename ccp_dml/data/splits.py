"""Splits of samples into training and validation."""

import numpy as np

from ccp_dml.checks import check_fraction
from ccp_dml.data.samples import LabeledSamples


def split_by_class(
    data: LabeledSamples, num_folds: int = 4, fold: int = 1
) -> tuple[LabeledSamples, LabeledSamples]:
    """Splits samples by class into training samples and validation samples of other classes.

    It is the split of `class_fold`.

    Args:
        data: Samples of at least three classes, such as `load(name).train`.
        num_folds: Number of parts into which the classes are divided, one of them for validation.
            Defaults to 4.
        fold: Number of the split, from 1 to `num_folds`. Defaults to 1.

    Returns:
        Training samples with the labels 0…C − 1, as proxies need them, and validation samples with
        the labels of `data`.

    Raises:
        ValueError: If an argument is out of range, or fewer than two classes would be left for
            validation.

    Example:

    >>> from ccp_dml.data import load
    >>> train, validation = split_by_class(load("glyphs").train, num_folds=4)
    >>> train.num_classes, validation.num_classes
    (300, 100)
    """
    training, held_out = class_fold(data.labels, num_folds, fold)
    validation = data.subset(held_out)
    if validation.num_classes < 2:
        raise ValueError(
            f"retrieval cannot be validated on {validation.num_classes} of {data.num_classes} "
            "classes, which are all that this fold leaves: choose fewer folds, or use "
            "split_by_sample"
        )
    return _with_contiguous_labels(data.subset(training)), validation


def split_by_sample(
    data: LabeledSamples, fraction: float = 0.25, seed: int = 0
) -> tuple[LabeledSamples, LabeledSamples]:
    """Splits the samples of every class, for data with too few classes to split by class.

    It is the split of `hold_out_samples`.

    Args:
        data: Samples, such as `load(name).train`.
        fraction: Fraction of each class's samples to validate on. Defaults to 0.25.
        seed: Determines the choice. Defaults to 0.

    Returns:
        Training samples with the labels 0…C − 1, as proxies need them, and validation samples with
        the labels of `data`.

    Raises:
        ValueError: If `fraction` is not between 0 and 1.

    Example:

    >>> from ccp_dml.data import load
    >>> train, validation = split_by_sample(load("digits").train)
    >>> len(train), len(validation)
    (676, 225)
    """
    training, held_out = hold_out_samples(data.labels, fraction, seed)
    return _with_contiguous_labels(data.subset(training)), data.subset(held_out)


def _with_contiguous_labels(data):
    return data.with_labels(contiguous(data.labels))


def class_fold(labels: np.ndarray, num_folds: int, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits samples by class, as in the MLRC protocol (Musgrave et al., ECCV 2020).

    The classes, in label order, are divided into `num_folds` contiguous parts; if they cannot be
    equal, the first ones have one class more. Fold k validates on part `num_folds + 1 − k` and
    trains on the others.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        num_folds: Number of parts, at least 2 and at most the number of classes.
        fold: k, from 1 to `num_folds`.

    Returns:
        Indices of the training and of the validation samples, ascending.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> class_fold(np.array([2, 2, 5, 5, 8, 9]), num_folds=4, fold=1)
    (array([0, 1, 2, 3, 4]), array([5]))
    """
    classes = np.unique(labels)
    if not 2 <= num_folds <= len(classes):
        raise ValueError(
            f"num_folds must be between 2 and the number of classes, {len(classes)}; "
            f"got {num_folds}"
        )
    if not 1 <= fold <= num_folds:
        raise ValueError(f"fold must be between 1 and num_folds, {num_folds}; got {fold}")
    validation_classes = np.array_split(classes, num_folds)[num_folds - fold]
    in_validation = np.isin(labels, validation_classes)
    return np.flatnonzero(~in_validation), np.flatnonzero(in_validation)


def hold_out_samples(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out samples of every class, for data with too few classes to split by class.

    Args:
        labels: Integer labels of the samples `(n,)`.
        fraction: Fraction of each class's samples to hold out, between 0 and 1, rounded; at least
            two samples remain for training and, if the class has four or more, at least two are
            held out.
        seed: Determines the choice.

    Returns:
        Indices of the training and of the held-out samples, ascending.

    Raises:
        ValueError: If `fraction` is not between 0 and 1.
    """
    check_fraction("fraction", fraction)
    labels = np.asarray(labels)
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(fraction * len(members)), 2), len(members) - 2)
        held_out[generator.permutation(members)[: max(count, 0)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def contiguous(labels: np.ndarray) -> np.ndarray:
    """Renumbers labels as 0…C − 1 in ascending order, as proxies need them.

    Args:
        labels: Integer labels `(n,)`; any integers.

    Returns:
        int32 `(n,)`.

    Example:

    >>> contiguous(np.array([30, 10, 30]))
    array([1, 0, 1], dtype=int32)
    """
    return np.unique(labels, return_inverse=True)[1].astype("int32")
