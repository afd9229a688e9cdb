"""Anybody's images: a folder with a subfolder for each class, or a CSV file that lists them."""

import concurrent.futures
import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from absl import logging
from etils import epath
from tqdm import tqdm

from ccp_dml.data.cache import cache_folder, whole_file
from ccp_dml.data.image_index import ImageIndex, absolute_path, is_remote

SPLITS = ("train", "test", "query", "gallery")

_READERS = 32
_MOST_NAMED = 20
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def index_folder(
    source: str, max_bad_images: int = 0, test_fraction: float = 0.5, split_seed: int = 0
) -> ImageIndex:
    """Lists the JPEG and PNG images of a folder or a CSV file, with their classes and splits.

    A folder has a subfolder for each class, with images in it or below it; if it has just two
    subfolders, `train` and `test`, these have the subfolders of the classes, and the split is
    given. A CSV file has the columns `path`, from the folder of the file if it is not absolute,
    `label`, any text, and optionally `split`: `train`, and `test` or both `query` and `gallery`.
    Files and folders whose names begin with a dot are ignored.

    If no split is given, classes are drawn at random to test on. Every image is read and decoded
    once to see that it can be; that is remembered in `cache_folder()` while a file's size and time
    stay the same.

    Args:
        source: The folder or CSV file; any path that `etils.epath` knows.
        max_bad_images: How many files may be skipped because they are no images or cannot be
            decoded. Defaults to 0.
        test_fraction: Part of the classes to test on, between 0 and 1, rounded, if no split is
            given. Defaults to 0.5.
        split_seed: Fixes which classes these are. Defaults to 0.

    Returns:
        The images in the order of their classes. Classes are in the order of their names.

    Raises:
        ValueError: If the source does not exist or holds no images, a row of a CSV file is
            wrong, a class is in more than one of training and test, there are fewer than two
            classes to train or to test on, or more than `max_bad_images` files are bad; the message
            names them.
    """
    source = absolute_path(source)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must be between 0 and 1; got {test_fraction}")
    for name, value in [("max_bad_images", max_bad_images), ("split_seed", split_seed)]:
        if value < 0 or value % 1:
            raise ValueError(f"{name} must be a whole number of at least 0; got {value}")
    if source.is_dir():
        rows = _rows_of_folder(source)
    elif source.exists():
        rows = _rows_of_csv(source)
    else:
        raise ValueError(
            f"data_dir {source} does not exist: name a folder with a subfolder of images for each "
            "class, or a CSV file with the columns path, label and, optionally, split"
        )
    if not rows:
        raise ValueError(f"{source} holds no images: it must have a subfolder of images a class")
    rows = _without_bad_images(sorted(rows, key=lambda row: (row[1], row[0])), max_bad_images)
    paths, names, splits = (np.array(column) for column in zip(*rows, strict=True))
    class_names, labels = np.unique(names, return_inverse=True)
    if not splits[0]:
        splits = _seeded_split(labels, len(class_names), test_fraction, split_seed)
    _check_split(labels, splits, class_names)
    _report_small_classes(labels, class_names)
    return ImageIndex(paths, labels.astype("int64"), splits, tuple(class_names.tolist()))


def _rows_of_folder(folder):
    """Path, class and split (empty if not given) of every file."""
    children = sorted(_visible(folder), key=lambda child: child.name)
    given = [child.name for child in children if child.is_dir()] == ["test", "train"]
    roots = [(child, child.name) for child in children] if given else [(folder, "")]
    return [
        (path, class_folder.name, split)
        for root, split in roots
        for class_folder in _visible(root)
        if class_folder.is_dir()
        for path in _files_below(class_folder)
    ]


def _visible(folder):
    return (child for child in folder.iterdir() if not child.name.startswith("."))


def _files_below(folder):
    # TensorFlow's walk knows buckets, and takes several times as long for local folders.
    walk = tf.io.gfile.walk if is_remote(folder) else os.walk
    for parent, folders, names in walk(os.fspath(folder)):
        # What is taken out here is not descended into.
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in names if not name.startswith("."))


def _rows_of_csv(file):
    try:
        text = file.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        columns, table = reader.fieldnames or [], list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a CSV file in UTF-8: {error}") from error
    if not {"path", "label"} <= set(columns):
        raise ValueError(
            f"the first line of {file} must name the columns path, label and, optionally, split; "
            f"got {', '.join(columns)}"
        )
    rows, line_of = [], {}
    for line, row in enumerate(table, start=2):
        path, label = (row["path"] or "").strip(), (row["label"] or "").strip()
        split = (row["split"] or "").strip() if "split" in columns else ""
        if not path or not label:
            raise ValueError(f"line {line} of {file} has no {'label' if path else 'path'}")
        if "split" in columns and split not in SPLITS:
            allowed = ", ".join(SPLITS)
            raise ValueError(
                f"line {line} of {file}: split must be one of {allowed}; got {split!r}"
            )
        if path in line_of:
            raise ValueError(f"lines {line_of[path]} and {line} of {file} name the same {path}")
        line_of[path] = line
        rows.append((os.fspath(file.parent / path), label, split))
    return rows


def _without_bad_images(rows, max_bad_images):
    problems = image_problems([path for path, _, _ in rows])
    if len(problems) > max_bad_images:
        named = [f"{path} ({problem})" for path, problem in list(problems.items())[:_MOST_NAMED]]
        if len(problems) > _MOST_NAMED:
            named.append(f"and {len(problems) - _MOST_NAMED} more")
        raise ValueError(
            f"{len(problems)} of {len(rows)} files are no images that can be decoded, and "
            f"max_bad_images is {max_bad_images}: {'; '.join(named)}"
        )
    for path, problem in problems.items():
        logging.warning("Skipped %s: %s.", path, problem)
    if problems:
        logging.warning("Skipped %d bad images of %d files.", len(problems), len(rows))
    if len(problems) == len(rows):
        raise ValueError(f"none of the {len(rows)} files is an image that can be decoded")
    return [row for row in rows if row[0] not in problems]


def image_problems(paths: Iterable[str]) -> dict[str, str]:
    """Reads and decodes files and says what is wrong with those that are no JPEG or PNG images.

    Args:
        paths: The files.

    Returns:
        For each bad file, in the order of `paths`, what is wrong.
    """
    paths = list(paths)
    digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:32]
    memory = cache_folder() / "checked" / f"{digest}.json"
    try:
        seen = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen = {}

    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        # Threads help with buckets; with local files they would take longer than the files do.
        states = list((readers.map if any(map(is_remote, paths)) else map)(_state, paths))
        new = [
            path
            for path, state in zip(paths, states, strict=True)
            if state is not None and seen.get(path, [None])[0] != state
        ]
        problems = tqdm(
            readers.map(_problem, new),
            "checking images",
            len(new),
            unit="image",
            delay=1,
            leave=False,
        )
        found = dict(zip(new, problems, strict=True))
    checked = {
        path: [state, found[path] if path in found else seen[path][1]]
        for path, state in zip(paths, states, strict=True)
        if state is not None
    }
    if checked != seen:
        _remember(memory, checked)
    problem_of = {path: problem for path, (_, problem) in checked.items()}
    every = {path: problem_of.get(path, "does not exist") for path in paths}
    return {path: problem for path, problem in every.items() if problem}


def _state(path):
    """Size and time of a file, `None` if there is no such file."""
    try:
        if is_remote(path):
            status = epath.Path(path).stat()
            return [status.length, status.mtime]
        status = os.stat(path)
        return [status.st_size, status.st_mtime_ns]
    except (OSError, tf.errors.OpError):
        return None


def _problem(path):
    try:
        contents = epath.Path(path).read_bytes()
    except (OSError, tf.errors.OpError) as error:
        return f"cannot be read: {error}"
    if not contents:
        return "is empty"
    if not contents.startswith(_SIGNATURES):
        return "is neither JPEG nor PNG"
    try:
        tf.io.decode_image(contents, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        return "is damaged"
    return ""


def _remember(memory, checked):
    try:
        with whole_file(memory) as unfinished:
            unfinished.write_text(json.dumps(checked), encoding="utf-8")
    except OSError as error:
        logging.info("The images will be checked again next time: %s", error)


def _seeded_split(labels, num_classes, test_fraction, split_seed):
    count = round(test_fraction * num_classes)
    test = np.random.default_rng(int(split_seed)).permutation(num_classes)[:count]
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
            f"{_listed(class_names[common])}"
        )
    for name, of_split in (("train", train), ("test", test)):
        if len(of_split) < 2:
            raise ValueError(f"there must be at least 2 classes to {name} on; got {len(of_split)}")


def _report_small_classes(labels, class_names):
    small = np.flatnonzero(np.bincount(labels) < 2)
    if small.size:
        logging.warning(
            "%d of %d classes have a single image, which forms no positive pair: %s.",
            len(small),
            len(class_names),
            _listed(class_names[small]),
        )


def _listed(names):
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED].tolist()) + more
