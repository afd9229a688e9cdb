"""Your own images: a folder with a subfolder for each class, or a CSV file that lists them."""

import csv
import io
import os

import numpy as np
import tensorflow as tf
from absl import logging

from ccp_dml.checks import check_fraction, check_one_of, check_whole_number, list_first
from ccp_dml.data.image_check import image_problems
from ccp_dml.data.image_index import ImageIndex, absolute_path, is_remote

SPLITS = ("train", "test", "query", "gallery")

_LISTED_AT_MOST = 20


def index_folder(
    source: str, max_bad_images: int = 0, test_fraction: float = 0.5, split_seed: int = 0
) -> ImageIndex:
    """Lists the JPEG and PNG images of a folder or a CSV file, with their classes and splits.

    A folder has a subfolder for each class, with images in it or below it. If it has the subfolders
    `train` and `test`, or `train`, `query` and `gallery`, these have the subfolders of the classes,
    and the split is given. A CSV file has the columns `path`, absolute or relative to the folder of
    the file, `label`, any text, and optionally `split`: `train`, and `test` or both `query` and
    `gallery`. Files and folders whose names begin with a dot are ignored, and so is the orientation
    in EXIF data: images are seen as they are stored.

    If no split is given, classes to test on are drawn at random. Every image is decoded once to
    check it; the result is kept in `cache_folder()` while a file's size and time stay the same.

    Args:
        source: The folder or CSV file; any path that `etils.epath` knows.
        max_bad_images: How many files may be skipped because they cannot be decoded as images.
            Defaults to 0.
        test_fraction: Fraction of the classes to test on, between 0 and 1, rounded, if no split is
            given. Defaults to 0.5.
        split_seed: Determines which classes these are. Defaults to 0.

    Returns:
        The images in the order of their classes. Classes are in the order of their names.

    Raises:
        ValueError: If the source does not exist or holds no images, a row of a CSV file is
            wrong, a class is in more than one of training and test, there are fewer than two
            classes to train or to test on, or more than `max_bad_images` files are bad; the message
            names them.
    """
    source = absolute_path(source)
    check_fraction("test_fraction", test_fraction)
    max_bad_images = check_whole_number("max_bad_images", max_bad_images, least=0)
    split_seed = check_whole_number("split_seed", split_seed, least=0)
    if source.is_dir():
        rows = _read_folder(source)
    elif source.exists():
        rows = _read_csv(source)
    else:
        raise ValueError(
            f"data_dir {source} does not exist: name a folder with a subfolder of images for each "
            "class, or a CSV file with the columns path, label and, optionally, split"
        )
    if not rows:
        raise ValueError(f"{source} holds no images: it must have a subfolder of images per class")
    rows.sort(key=lambda row: (row[1], row[0]))
    rows = _drop_bad_images(rows, os.fspath(source), max_bad_images)
    paths, names, splits = (np.array(column) for column in zip(*rows, strict=True))
    class_names, labels = np.unique(names, return_inverse=True)
    if not splits[0]:
        splits = _draw_split(labels, len(class_names), test_fraction, split_seed)
    _check_split(labels, splits, class_names)
    _warn_of_small_classes(labels, class_names)
    return ImageIndex(paths, labels.astype("int64"), splits, tuple(class_names.tolist()))


def _read_folder(folder):
    """Path, class and split (empty if not given) of every file."""
    children = sorted(_list_visible(folder), key=lambda child: child.name)
    folders = [child for child in children if child.is_dir()]
    given = {
        child.name
        for child in folders
        if child.name in SPLITS and any(below.is_dir() for below in _list_visible(child))
    }
    if "train" not in given or not given & set(SPLITS[1:]):
        _warn_of_loose_files(folder, children, folders)
        return _list_classes(folders, "")
    unknown = [child.name for child in folders if child.name not in SPLITS]
    if unknown:
        raise ValueError(
            f"{folder} has the folders of a given split, and other folders: "
            f"{list_first(unknown, _LISTED_AT_MOST)}; a split has {', '.join(SPLITS)}"
        )
    rows = []
    for root in folders:
        classes = list(_list_visible(root))
        _warn_of_loose_files(root, classes, [child for child in classes if child.is_dir()])
        rows += _list_classes([child for child in classes if child.is_dir()], root.name)
    return rows


def _list_classes(class_folders, split):
    return [
        (path, class_folder.name, split)
        for class_folder in class_folders
        for path in _walk_files(class_folder)
    ]


def _warn_of_loose_files(folder, children, folders):
    if len(folders) < len(children):
        logging.warning(
            "%d files in %s are in no class: %s.",
            len(children) - len(folders),
            folder,
            list_first([child.name for child in children if child not in folders], _LISTED_AT_MOST),
        )


def _list_visible(folder):
    return [child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX"))]


def _walk_files(folder):
    for parent, folders, names in _walk(os.fspath(folder)):
        # What is taken out here is not descended into.
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in names if not name.startswith("."))


def _walk(folder):
    """All folders below one, those that links lead to once."""
    if is_remote(folder):
        yield from tf.io.gfile.walk(folder)
        return
    # TensorFlow's walk takes several times as long for local folders.
    visited = set()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        yield parent, folders, names


def _raise(error):
    raise error


def _read_csv(file):
    rows, line_of = [], {}
    try:
        text = file.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        columns = reader.fieldnames or []
        if not {"path", "label"} <= set(columns):
            raise ValueError(
                f"the first line of {file} must name the columns path, label and, optionally, "
                f"split; got {', '.join(columns)}"
            )
        for row in reader:
            where = f"line {reader.line_num} of {file}"
            path, label, split = _parse_row(row, "split" in columns, where)
            path = _resolve_path(file.parent, path)
            if path in line_of:
                raise ValueError(
                    f"lines {line_of[path]} and {reader.line_num} of {file} name the same {path}"
                )
            line_of[path] = reader.line_num
            rows.append((path, label, split))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{file} holds no images: each line below the first must name one")
    return rows


def _parse_row(row, has_split, where):
    path, label = (row["path"] or "").strip(), (row["label"] or "").strip()
    split = (row["split"] or "").strip() if has_split else ""
    if not path or not label:
        raise ValueError(f"{where} has no {'label' if path else 'path'}")
    if has_split:
        check_one_of(f"{where}: split", split, SPLITS)
    return path, label, split


def _resolve_path(folder, path):
    """A path as one string for one file, from a folder if it is not absolute."""
    if is_remote(path):
        return path
    path = os.path.expanduser(path)
    if is_remote(folder):
        return path if os.path.isabs(path) else os.fspath(folder / path)
    return os.path.normpath(os.path.join(folder, path))


def _drop_bad_images(rows, source, max_bad_images):
    problems = image_problems([path for path, _, _ in rows], source)
    if len(problems) > max_bad_images:
        listed = [f"{path} ({problem})" for path, problem in problems.items()]
        raise ValueError(
            f"{len(problems)} of {len(rows)} files cannot be decoded as images, and "
            f"max_bad_images is {max_bad_images}: {list_first(listed, _LISTED_AT_MOST, '; ')}"
        )
    for path, problem in problems.items():
        logging.warning("Skipped %s: %s.", path, problem)
    if problems:
        logging.warning("Skipped %d bad images of %d files.", len(problems), len(rows))
    if len(problems) == len(rows):
        raise ValueError(f"none of the {len(rows)} files is an image that can be decoded")
    return [row for row in rows if row[0] not in problems]


def _draw_split(labels, num_classes, test_fraction, split_seed):
    count = round(test_fraction * num_classes)
    test = np.random.default_rng(split_seed).permutation(num_classes)[:count]
    return np.where(np.isin(labels, test), "test", "train")


def _check_split(labels, splits, class_names):
    present = set(splits.tolist())
    if "test" in present and present & {"query", "gallery"}:
        raise ValueError("the images to test on are either test, or query and gallery; got both")
    if len(present & {"query", "gallery"}) == 1:
        (only,) = present & {"query", "gallery"}
        raise ValueError(f"there must be images of both query and gallery; got {only} only")
    train, test = (np.unique(labels[mask]) for mask in (splits == "train", splits != "train"))
    common = np.intersect1d(train, test)
    if common.size:
        raise ValueError(
            "training and test must have no class in common; in both are "
            f"{list_first(class_names[common], _LISTED_AT_MOST)}"
        )
    for name, classes in (("train", train), ("test", test)):
        if len(classes) < 2:
            raise ValueError(f"there must be at least 2 classes to {name} on; got {len(classes)}")
    if "query" in present:
        in_both = np.intersect1d(labels[splits == "query"], labels[splits == "gallery"])
        if not in_both.size:
            raise ValueError("no query has an image of its class in the gallery")
    elif np.bincount(labels[splits == "test"]).max() < 2:
        raise ValueError("no class to test on has two images, so that there is nothing to find")


def _warn_of_small_classes(labels, class_names):
    small = np.flatnonzero(np.bincount(labels) < 2)
    if small.size:
        logging.warning(
            "%d of %d classes have a single image, which forms no positive pair: %s.",
            len(small),
            len(class_names),
            list_first(class_names[small], _LISTED_AT_MOST),
        )
