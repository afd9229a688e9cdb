"""Data sets that can be loaded by name."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_parameters
from ccp_dml.data.benchmark import Benchmark
from ccp_dml.data.datasets.digits import digits
from ccp_dml.data.datasets.folder import index_folder
from ccp_dml.data.datasets.glyphs import glyphs
from ccp_dml.data.datasets.official import OFFICIAL_SETS, load_official
from ccp_dml.data.files import ImageFiles
from ccp_dml.data.image_augmentation import ImageAugmentation
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.data.preprocessing import Preprocessing

_IN_MEMORY: dict[str, Callable[..., Benchmark]] = {"digits": digits, "glyphs": glyphs}
_SHAPES_IN_MEMORY = {"digits": (8, 8, 1), "glyphs": (28, 28, 1)}
DATASETS_IN_MEMORY = tuple(_IN_MEMORY)
"""The names of the data sets that are not image files."""
DATASETS = (*_IN_MEMORY, *OFFICIAL_SETS, "folder")
"""The names of the data sets."""
# Arguments of `index_folder` that have settings of their own.
_NO_PARAMETERS = ("source", "max_bad_images", "max_pixels")


def dataset_parameters(name: str) -> list[str]:
    """Returns the names of the parameters of a data set, all of them numbers.

    Args:
        name: One of `DATASETS`.

    Example:

    >>> dataset_parameters("glyphs")
    ['train_letters', 'samples_per_letter', 'tuning_letters']
    """
    if name in OFFICIAL_SETS:
        return []
    signature = inspect.signature({**_IN_MEMORY, "folder": index_folder}[name])
    return [known for known in signature.parameters if known not in _NO_PARAMETERS]


def input_shape(name: str, image_size: int) -> tuple[int, int, int]:
    """Returns height, width and channels of the images of a data set before it is loaded.

    Args:
        name: One of `DATASETS`.
        image_size: Height and width to which `Preprocessing` brings images in files.

    Example:

    >>> input_shape("digits", image_size=227), input_shape("sop", image_size=227)
    ((8, 8, 1), (227, 227, 3))
    """
    return _SHAPES_IN_MEMORY.get(name, (image_size, image_size, 3))


def load(
    name: str,
    /,
    data_dir: str | None = None,
    preprocessing: Preprocessing | None = None,
    cache: str = "none",
    max_bad_images: int = 0,
    max_pixels: int = MAX_PIXELS,
    augmentation: ImageAugmentation | None = None,
    **params: Any,
) -> Benchmark:
    """Loads a data set.

    - `"digits"`: handwritten digits; see `ccp_dml.data.datasets.digits`.
    - `"glyphs"`: letters; see `ccp_dml.data.datasets.glyphs`.
    - `"cub200_2011"`, `"cars196"`, `"sop"`, `"inshop"`: see `ccp_dml.data.load_official`.
    - `"folder"`: your own images; see `ccp_dml.data.index_folder`.

    Args:
        name: One of `DATASETS`.
        data_dir: The folder of a data set in files; any path that `etils.epath` knows.
        preprocessing: How files are turned into inputs of a network. Defaults to `Preprocessing()`.
        cache: Where to keep images that were read from files: `"none"` (default), `"memory"` or
            `"disk"`; see `ImageFiles`.
        max_bad_images: How many files of `"folder"` may be skipped because they are damaged or not
            images. Defaults to 0.
        max_pixels: The largest image of `"folder"` that is decoded, width times height. Defaults to
            50 million.
        augmentation: Augmentation of training images in files, such as `compose_augmentation`
            returns. Defaults to none.
        **params: Parameters of the data set, numbers; see its function.

    Raises:
        ValueError: If the name or a parameter is unknown (the message lists the known ones), a
            value is out of range, or the data cannot be loaded.

    Example:

    >>> len(load("digits").train)
    901
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; the data sets are {', '.join(DATASETS)}")
    check_parameters(name, params, dataset_parameters(name))
    if name in _IN_MEMORY:
        if data_dir:
            raise ValueError(
                f"data_dir is for images in files, and those of {name} are in memory: omit it, or "
                f"choose the data set folder for your own images; got {data_dir}"
            )
        if augmentation is not None:
            raise ValueError(f"augmentation is for images in files; those of {name} are in memory")
        return _IN_MEMORY[name](**params)
    if not data_dir:
        where = "a folder with a subfolder of images for each class, or a CSV file"
        if name in OFFICIAL_SETS:
            where = f"the folder that contains, or will contain, the folder {name}"
        raise ValueError(f"data_dir is missing: name {where}")
    try:
        if name in OFFICIAL_SETS:
            index = load_official(name, data_dir)
        else:
            index = index_folder(data_dir, max_bad_images, max_pixels=max_pixels, **params)
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"data_dir {data_dir} cannot be read: {reason}") from error
    return _make_benchmark(index, preprocessing or Preprocessing(), cache, augmentation)


def _make_benchmark(index, preprocessing, cache, augmentation) -> Benchmark:
    data = ImageFiles(index.paths, index.labels, preprocessing, cache, augmentation)
    splits = {
        split: data.subset(np.flatnonzero(index.splits == split))
        for split in np.unique(index.splits).tolist()
    }
    return Benchmark(
        train=splits["train"],
        test=splits["query" if "query" in splits else "test"],
        gallery=splits.get("gallery"),
        class_names=index.class_names,
        validation=splits.get("val"),
        notes=index.notes,
    )
