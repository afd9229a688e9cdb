"""The data sets that can be loaded by name."""

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits

from ccp_dml.data.augmentation import Augmentation, random_affine
from ccp_dml.data.glyphs import letter_groups, render_letters
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


def glyphs() -> Benchmark:
    """Letters in the faces of the DejaVu fonts, 28 × 28 grey pixels in 0…1, 20 images of each.

    400 letters train and 349 others test; see `ccp_dml.data.render_letters`.
    """
    groups = letter_groups()
    return Benchmark(
        train=render_letters(groups["train"], samples_per_letter=20, seed=0),
        test=render_letters(groups["test"], samples_per_letter=20, seed=0),
    )


DATASETS: dict[str, Callable[[], Benchmark]] = {"digits": digits, "glyphs": glyphs}


def load(name: str) -> Benchmark:
    """Loads a data set.

    Args:
        name: A key of `DATASETS`.

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.

    Example:

    >>> len(load("digits").train)
    901
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; the data sets are {', '.join(DATASETS)}")
    return DATASETS[name]()
