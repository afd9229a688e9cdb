"""The data sets that can be loaded by name."""

import dataclasses

import numpy as np
from sklearn.datasets import load_digits

from ccp_dml.data.augmentation import random_affine
from ccp_dml.data.files import ImageFiles
from ccp_dml.data.folder import index_folder
from ccp_dml.data.glyphs import letter_groups, render_letters
from ccp_dml.data.image_index import ImageIndex
from ccp_dml.data.images import LabeledImages
from ccp_dml.data.preprocessing import Preprocessing
from ccp_dml.data.samples import LabeledSamples

IN_MEMORY = ("digits", "glyphs")
DATASETS = (*IN_MEMORY, "folder")


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A retrieval benchmark: training classes and other classes to test on.

    Attributes:
        train: Samples of the training classes.
        test: Samples of the test classes, none of which is a training class: the queries, which are
            searched for among each other if there is no gallery.
        gallery: What the test samples are searched for in. Defaults to `None`.
        class_names: A name for each label. Defaults to `None`.
    """

    train: LabeledSamples
    test: LabeledSamples
    gallery: LabeledSamples | None = None
    class_names: tuple[str, ...] | None = None


def load(
    name: str,
    data_dir: str | None = None,
    preprocessing: Preprocessing | None = None,
    cache: str = "none",
    max_bad_images: int = 0,
    **parameters: float,
) -> Benchmark:
    """Loads a data set.

    - `"digits"`: scikit-learn's handwritten digits, 8 × 8 grey pixels in 0…1: 0–4 train, 5–9 test.
    - `"glyphs"`: letters in the faces of the DejaVu fonts, 28 × 28 grey pixels in 0…1; see
      `render_letters`. Parameters: `train_letters`, how many letters train, of 400;
      `samples_per_letter`, 20.
    - `"folder"`: images of your own; see `index_folder`. Parameters: `test_fraction`, `split_seed`.

    Args:
        name: One of `DATASETS`.
        data_dir: The folder of the data set, for those that are in files.
        preprocessing: How files become inputs of a network. Defaults to `Preprocessing()`.
        cache: What is kept of what was read from files: `"none"` (default), `"memory"` or `"disk"`;
            see `ImageFiles`.
        max_bad_images: For `"folder"`: how many files may be skipped. Defaults to 0.
        **parameters: Parameters of the data set.

    Raises:
        ValueError: If the name or a parameter is unknown, or the data cannot be loaded; the message
            says what to do.

    Example:

    >>> len(load("digits").train)
    901
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; the data sets are {', '.join(DATASETS)}")
    if name in IN_MEMORY:
        return {"digits": _digits, "glyphs": _glyphs}[name](**parameters)
    if not data_dir:
        raise ValueError(f"data_dir is missing: name the folder of the data set {name}")
    index = index_folder(data_dir, max_bad_images, **parameters)
    return _in_files(index, preprocessing or Preprocessing(), cache)


def _digits() -> Benchmark:
    bunch = load_digits()
    images = (bunch.images[..., np.newaxis] / 16.0).astype("float32")
    data = LabeledImages(images, bunch.target, random_affine)
    return Benchmark(
        train=data.subset(np.flatnonzero(bunch.target < 5)),
        test=data.subset(np.flatnonzero(bunch.target >= 5)),
    )


def _glyphs() -> Benchmark:
    groups = letter_groups()
    return Benchmark(
        train=render_letters(groups["train"], samples_per_letter=20, seed=0),
        test=render_letters(groups["test"], samples_per_letter=20, seed=0),
        class_names=groups["train"] + groups["test"],
    )


def _in_files(index: ImageIndex, preprocessing: Preprocessing, cache: str) -> Benchmark:
    data = ImageFiles(index.paths, index.labels, preprocessing, cache)
    of_split = {
        split: data.subset(np.flatnonzero(index.splits == split))
        for split in np.unique(index.splits).tolist()
    }
    return Benchmark(
        train=of_split["train"],
        test=of_split["query" if "query" in of_split else "test"],
        gallery=of_split.get("gallery"),
        class_names=index.class_names,
    )
