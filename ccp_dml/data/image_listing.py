"""Images to embed, with their classes and splits as far as known."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from ccp_dml.data.benchmark import Benchmark
from ccp_dml.data.datasets.class_folders import SPLITS, walk_folders
from ccp_dml.data.datasets.image_list import read_image_list
from ccp_dml.data.files import ImageFiles
from ccp_dml.data.image_header import IMAGE_SUFFIXES
from ccp_dml.data.image_index import absolute_path, is_regular_file


@dataclasses.dataclass(frozen=True, eq=False)
class ImageListing:
    """A sequence of images, with what is known about them.

    Attributes:
        images: Absolute paths or URLs, a list of n strings, or pixels in memory, uint8
            `(n, height, width, channels)`.
        labels: The class of each, strings or integers, `None` if unknown. Defaults to `None`: all
            are unknown.
        splits: The name of the split of each, `None` if it has none. Defaults to `None`: none has
            one.

    Raises:
        ValueError: If the lengths differ.
    """

    images: list[str] | np.ndarray
    labels: Sequence[Any] | None = None
    splits: Sequence[str | None] | None = None

    def __post_init__(self):
        for name, values in (("labels", self.labels), ("splits", self.splits)):
            if values is not None and len(values) != len(self.images):
                raise ValueError(
                    f"{name} must have one entry for each of {len(self.images)} images; got "
                    f"{len(values)}"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def in_files(self) -> bool:
        """Whether the images are files."""
        return isinstance(self.images, list)

    def read_some(self, count: int) -> list[bytes]:
        """Reads encoded images, evenly spread over the listing; none if they are in memory.

        Args:
            count: Largest number of images, at least 1.

        Raises:
            ValueError: If one is not a file.
            OSError: If one cannot be read.
        """
        if not self.in_files:
            return []
        step = -(-len(self) // count)
        return [_read_file(path) for path in self.images[::step]]


def list_images(source: str | os.PathLike) -> ImageListing:
    """Lists images for a trained network, with fewer requirements than training has.

    A folder may contain images directly, which then have no class, or in subfolders, which are
    their classes. Subfolders `train` and `test` (or `query`, `gallery`) and no others are splits,
    with or without subfolders of classes. A CSV file has the column `path`, absolute or relative to
    the folder of the file, and optionally `label` and `split`, which may be empty; repeated rows
    count once. A single image is a list of one.

    Args:
        source: The folder, CSV file or image; any path that `etils.epath` knows.

    Returns:
        The images in the order of their paths, or of the CSV file. Whether they can be decoded is
        not checked. Files whose names begin with a dot are ignored, and those without the suffix of
        an image are counted in a message.

    Raises:
        ValueError: If there is nothing at `source`, it contains no images, or a line of a CSV file
            is wrong.
        OSError: If it cannot be read.
    """
    path = absolute_path(source)
    if path.is_dir():
        rows = _list_folder(os.fspath(path))
    elif not path.exists():
        raise ValueError(f"{path} does not exist: name a folder of images or a CSV file")
    elif not is_regular_file(path):
        raise ValueError(f"{path} is neither a folder nor a file")
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        rows = [(os.fspath(path), None, None)]
    else:
        rows = _list_csv(path)
    if not rows:
        raise ValueError(
            f"{path} contains no images, which are files that end in {', '.join(IMAGE_SUFFIXES)}"
        )
    images, labels, splits = map(list, zip(*rows, strict=True))
    return ImageListing(images, _none_if_all_missing(labels), _none_if_all_missing(splits))


def list_benchmark(benchmark: Benchmark) -> ImageListing:
    """Lists the images of all splits of a data set: training, validation, test or query, gallery.

    Args:
        benchmark: As `ccp_dml.data.load` returns it.
    """
    named = {
        "train": benchmark.train,
        "val": benchmark.validation,
        "test" if benchmark.gallery is None else "query": benchmark.test,
        "gallery": benchmark.gallery,
    }
    names, parts = zip(*((name, part) for name, part in named.items() if part), strict=True)
    labels = np.concatenate([part.labels for part in parts]).tolist()
    if benchmark.class_names:
        labels = [benchmark.class_names[label] for label in labels]
    splits = [name for name, part in zip(names, parts, strict=True) for _ in range(len(part))]
    if isinstance(benchmark.train, ImageFiles):
        images = np.concatenate([part.paths for part in parts]).tolist()
    else:
        images = np.concatenate([part.displayable(part.images) for part in parts])
    return ImageListing(images, labels, splits)


def _read_file(path):
    path = absolute_path(path)
    # Reading a named pipe would block.
    if path.exists() and not is_regular_file(path):
        raise ValueError(f"{path} is not a file")
    return path.read_bytes()


def _none_if_all_missing(values):
    return values if any(value is not None for value in values) else None


def _list_folder(folder):
    """Lists path, class and split of every image below a folder, in the order of the paths."""
    below = [tuple(path[len(folder) :].strip("/").split("/")) for path in _walk_images(folder)]
    roots = {parts[0] for parts in below if len(parts) > 1}
    has_splits = "train" in roots and roots <= set(SPLITS)
    rows = []
    for parts in sorted(below):
        split = parts[0] if has_splits and len(parts) > 1 else None
        classes = parts[1:-1] if split else parts[:-1]
        rows.append((f"{folder.rstrip('/')}/{'/'.join(parts)}", next(iter(classes), None), split))
    return rows


def _walk_images(folder):
    others = 0
    for parent, folders, names in walk_folders(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        visible = [name for name in names if not name.startswith(".")]
        images = [name for name in visible if name.lower().endswith(IMAGE_SUFFIXES)]
        others += len(visible) - len(images)
        yield from (os.path.join(parent, name) for name in images)
    if others:
        logging.info("Skipped files in %s without the name of an image: %d.", folder, others)


def _list_csv(file):
    """Lists path, class and split of every image in a CSV file."""
    rows, notes = read_image_list(file, required=("path",))
    for note in notes:
        logging.info("%s.", note)
    return [(row.path, row.class_name or None, row.split or None) for row in rows]
