"""Your own images: a folder with a subfolder for each class, or a CSV file that lists them."""

import os

import numpy as np
from absl import logging

from ccp_dml.checks import check_fraction, check_whole_number, list_first, printable
from ccp_dml.data.datasets.class_folders import read_class_folders
from ccp_dml.data.datasets.image_list import read_image_list
from ccp_dml.data.image_check import image_problems, is_stray
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.data.image_index import ImageIndex, absolute_path, file_state

_MAX_LISTED = 20
_MAX_NOTED = 10


def index_folder(
    source: str,
    max_bad_images: int = 0,
    test_fraction: float = 0.5,
    split_seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> ImageIndex:
    """Lists the images of a folder or a CSV file, with their classes and splits.

    Images are JPEG, PNG, WebP, GIF and BMP files. A folder has a subfolder for each class, with
    images in it or below it. If it has the subfolders `train` and `test`, or `train`, `query` and
    `gallery`, these contain the subfolders of the classes, and the split is given; a further
    subfolder `val` contains images for validation. Files and folders whose names begin with a dot
    are ignored; files that are not images by name and contents, such as `Thumbs.db`, are counted
    and skipped.

    A CSV file has the columns `path`, absolute or relative to the folder of the file, `label`, any
    text, and optionally `split`: `train`, `val`, and `test` or both `query` and `gallery`. Repeated
    rows count once.

    If no split is given, test classes are drawn at random. Every image is decoded once to check it;
    the result is kept in `cache_folder()` while a file's size and time stay the same.

    Args:
        source: The folder or CSV file; any path that `etils.epath` knows.
        max_bad_images: How many files may be skipped because they cannot be decoded as images.
            Defaults to 0.
        test_fraction: Fraction of the classes to test on, between 0 and 1, rounded, if no split is
            given. Defaults to 0.5.
        split_seed: Determines which classes these are. Defaults to 0.
        max_pixels: The most pixels, width times height, that an image may have; one that has more
            is a bad image. Defaults to 50 million.

    Returns:
        The images in the order of their classes. Classes are in the order of their names.
        Irregularities are logged, and are in the notes.

    Raises:
        ValueError: If the source does not exist or holds no images, a row of a CSV file is wrong or
            contradicts another, a class to test on is in training or validation, there are fewer
            than two classes to train, to validate or to test on, or more than `max_bad_images`
            files are bad; the message names them.
    """
    path = absolute_path(source)
    check_fraction("test_fraction", test_fraction)
    max_bad_images = check_whole_number("max_bad_images", max_bad_images, least=0)
    split_seed = check_whole_number("split_seed", split_seed, least=0)
    max_pixels = check_whole_number("max_pixels", max_pixels, least=1)
    folders = []
    if path.is_dir():
        rows, folders, notes = read_class_folders(path)
    elif file_state(os.fspath(path)) is not None:
        rows, notes = read_image_list(path)
    else:
        problem = "is neither a folder nor a file" if path.exists() else "does not exist"
        raise ValueError(
            f"data_dir {path} {problem}: name a folder with a subfolder of images for each "
            "class, or a CSV file with the columns path, label and, optionally, split"
        )
    rows, skipped = _drop_bad_images(rows, os.fspath(path), max_bad_images, max_pixels, folders)
    notes += [*skipped, *_note_empty_folders(folders, rows)]
    rows.sort(key=lambda row: (row.class_name, row.path))
    paths, names, splits = (np.array(column) for column in zip(*rows, strict=True))
    class_names, labels = np.unique(names, return_inverse=True)
    class_names = np.array([printable(name) for name in class_names])
    if not splits[0]:
        splits = _draw_split(labels, len(class_names), test_fraction, split_seed)
    _check_split(labels, splits, class_names)
    notes += _note_small_classes(labels, class_names)
    for note in notes:
        logging.warning("%s.", note)
    return ImageIndex(
        paths, labels.astype("int64"), splits, tuple(class_names.tolist()), tuple(notes)
    )


def _drop_bad_images(rows, source, max_bad_images, max_pixels, folders):
    """Returns the rows of images, and notes on the others."""
    problems = image_problems([row.path for row in rows], source, max_pixels)
    notes = []
    # A file that a CSV file lists is meant to be an image.
    stray = {path for path in problems if folders and is_stray(path, problems[path])}
    if stray:
        listed = list_first(_format_paths(sorted(stray), source), _MAX_NOTED)
        notes.append(f"Skipped files that are not images ({len(stray)}): {listed}")
    rows = [row for row in rows if row.path not in stray]
    if not rows:
        raise ValueError(
            f"{source} contains no images: it must have a subfolder of images for each class"
        )
    bad = {path: problem for path, problem in problems.items() if path not in stray}
    listed = [f"{printable(path)} ({problem})" for path, problem in bad.items()]
    if len(bad) > max_bad_images:
        raise ValueError(
            f"{len(bad)} of {len(rows)} files cannot be decoded as images, and "
            f"max_bad_images is {max_bad_images}: {list_first(listed, _MAX_LISTED, '; ')}"
        )
    if bad:
        notes.append(
            f"Skipped bad images ({len(bad)} of {len(rows)} files): "
            f"{list_first(listed, _MAX_LISTED, '; ')}"
        )
    if len(bad) == len(rows):
        raise ValueError(f"none of the {len(rows)} files is an image that can be decoded")
    return [row for row in rows if row.path not in bad], notes


def _format_paths(paths, source):
    return [printable(path.removeprefix(source).lstrip("/")) for path in paths]


def _note_empty_folders(folders, rows):
    filled = {(row.class_name, row.split) for row in rows}
    empty = [
        printable(folder.path)
        for folder in folders
        if (folder.class_name, folder.split) not in filled
    ]
    if not empty:
        return []
    return [
        f"{len(empty)} of {len(folders)} class folders contain no images: "
        f"{list_first(empty, _MAX_NOTED)}"
    ]


def _draw_split(labels, num_classes, test_fraction, split_seed):
    count = round(test_fraction * num_classes)
    test = np.random.default_rng(split_seed).permutation(num_classes)[:count]
    return np.where(np.isin(labels, test), "test", "train")


def _check_split(labels, splits, class_names):
    _check_split_names(set(splits.tolist()))
    has_val = "val" in splits
    is_train, is_val = splits == "train", splits == "val"
    parts = {
        "train": np.unique(labels[is_train]),
        "validate": np.unique(labels[is_val]),
        "test": np.unique(labels[~is_train & ~is_val]),
    }
    for name, noun in (("train", "training"), ("validate", "validation")):
        common = np.intersect1d(parts[name], parts["test"])
        if common.size:
            raise ValueError(
                f"{noun} and test must have no class in common; both have "
                f"{list_first(class_names[common], _MAX_LISTED)}"
            )
    for name, classes in parts.items():
        if len(classes) < 2 and (name != "validate" or has_val):
            raise ValueError(f"there must be at least 2 classes to {name} on; got {len(classes)}")
    _check_pairs(labels, splits)


def _check_split_names(present):
    """Checks that the splits of a data set belong together."""
    if "test" in present and present & {"query", "gallery"}:
        raise ValueError(
            "the test images must be in either the test split or the query and gallery splits; got "
            "both"
        )
    if len(present & {"query", "gallery"}) == 1:
        (only,) = present & {"query", "gallery"}
        raise ValueError(
            f"there must be images in both the query and the gallery split; got only {only}"
        )
    if "val" in present <= {"train", "val"}:
        raise ValueError(
            f"there are only images of {' and '.join(sorted(present))}, and none to test on: "
            "assign some to the test split, or to query and gallery"
        )


def _check_pairs(labels, splits):
    """Checks that some query has something to find, in each split that is measured."""
    if "query" in splits:
        in_both = np.intersect1d(labels[splits == "query"], labels[splits == "gallery"])
        if not in_both.size:
            raise ValueError("no query has an image of its class in the gallery")
    for split, verb in (("test", "test"), ("val", "validate")):
        if split in splits and np.bincount(labels[splits == split]).max() < 2:
            raise ValueError(
                f"no class to {verb} on has two images, so there is nothing to retrieve"
            )


def _note_small_classes(labels, class_names):
    small = np.flatnonzero(np.bincount(labels) < 2)
    if not small.size:
        return []
    return [
        f"{len(small)} of {len(class_names)} classes have a single image, which forms no positive "
        f"pair: {list_first(class_names[small], _MAX_NOTED)}"
    ]
