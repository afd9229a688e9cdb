"""The data sets that can be loaded by name."""

import dataclasses
import inspect
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits

from ccp_dml.data.augmentation import Augmentation, random_affine
from ccp_dml.data.glyphs import letter_groups, load_letters
from ccp_dml.data.images import LabeledImages


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A retrieval benchmark: training classes and other classes to test on.

    Attributes:
        train: Samples of the training classes.
        test: Samples of the test classes, none of which is a training class.
        augmentation: What training applies to the images, or `None`.
    """

    train: LabeledImages
    test: LabeledImages
    augmentation: Augmentation | None = None


def digits() -> Benchmark:
    """scikit-learn's handwritten digits, 8 × 8 grey pixels in 0…1: 0–4 train, 5–9 test."""
    bunch = load_digits()
    images = (bunch.images[..., np.newaxis] / 16.0).astype("float32")
    data = LabeledImages(images, bunch.target)
    return Benchmark(
        train=data.subset(np.flatnonzero(bunch.target < 5)),
        test=data.subset(np.flatnonzero(bunch.target >= 5)),
        augmentation=random_affine,
    )


def glyphs(train_letters: int = 400, samples_per_letter: int = 20) -> Benchmark:
    """Letters in the faces of the DejaVu fonts, 28 × 28 grey pixels in 0…1.

    400 letters train and 349 others test; see `ccp_dml.data.render_letters`. The training set of
    fewer letters or samples is a part of that of more; the test set, 20 images of each letter, is
    always the same.

    Args:
        train_letters: How many of the training letters to take, 2 to 400, the first ones. Defaults
            to 400.
        samples_per_letter: Images of each training letter, at least 2. Defaults to 20.

    Raises:
        ValueError: If an argument is out of its bounds or not a whole number.
    """
    groups = letter_groups()
    train_letters = _whole("train_letters", train_letters, least=2, most=len(groups["train"]))
    samples_per_letter = _whole("samples_per_letter", samples_per_letter, least=2, most=1000)
    return Benchmark(
        train=load_letters(groups["train"][:train_letters], samples_per_letter, seed=0),
        test=load_letters(groups["test"], samples_per_letter=20, seed=0),
    )


def _whole(name, value, least, most):
    if value % 1 != 0 or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}; got {value}")
    return int(value)


DATASETS: dict[str, Callable[..., Benchmark]] = {"digits": digits, "glyphs": glyphs}


def dataset_parameters(name: str) -> list[str]:
    """The numbers that a data set takes.

    Args:
        name: A key of `DATASETS`.

    Example:

    >>> dataset_parameters("glyphs")
    ['train_letters', 'samples_per_letter']
    """
    return list(inspect.signature(DATASETS[name]).parameters)


def load(name: str, /, **params: float) -> Benchmark:
    """Loads a data set.

    Args:
        name: A key of `DATASETS`.
        **params: Numbers that the data set takes; see its function in `DATASETS`.

    Raises:
        ValueError: If the name or a parameter is unknown, the message lists the known ones; or if
            a value is out of its bounds.

    Example:

    >>> len(load("digits").train)
    901
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; the data sets are {', '.join(DATASETS)}")
    known = dataset_parameters(name)
    for param in params:
        if param not in known:
            takes = ", ".join(known) or "none"
            raise ValueError(f"{name} has no parameter {param!r}; it takes {takes}")
    return DATASETS[name](**params)
