"""Image files on disk or in a bucket, with their classes and splits."""

import csv
import dataclasses
import io
import os
import posixpath
import stat
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from etils import epath

_FILE_NAME = "index.csv"
_COLUMNS = ("path", "label", "split")


class SplitSize(NamedTuple):
    """The size of a split.

    Attributes:
        images: Number of images.
        classes: Number of classes.
    """

    images: int
    classes: int


@dataclasses.dataclass(frozen=True)
class ImageIndex:
    """Where images are stored, with their classes and splits; one row per image.

    Attributes:
        paths: Absolute paths or URLs of the encoded images, str `(n,)`.
        labels: Classes, numbered from 0 over all splits, int64 `(n,)`.
        splits: Names of the splits, `"train"` and `"test"`, or `"train"`, `"query"` and
            `"gallery"`, with or without `"val"`, str `(n,)`.
        class_names: A name for each class. Defaults to `None`.
        notes: Remarks that users should know about the files, such as how many were skipped, in
            sentences. Defaults to none.

    Raises:
        ValueError: If the shapes do not fit.

    Example:

    >>> index = ImageIndex(
    ...     np.array(["/a.jpg", "/b.jpg"]), np.array([0, 1]), np.array(["train", "test"])
    ... )
    >>> index.sizes()["test"]
    SplitSize(images=1, classes=1)
    """

    paths: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        shapes = self.paths.shape, self.labels.shape, self.splits.shape
        if self.labels.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(f"paths, labels and splits must be (n,); got {shapes}")

    def __len__(self) -> int:
        return len(self.labels)

    def sizes(self) -> dict[str, SplitSize]:
        """Returns the size of each split."""
        return {
            str(split): SplitSize(
                images=int(np.sum(self.splits == split)),
                classes=len(np.unique(self.labels[self.splits == split])),
            )
            for split in np.unique(self.splits)
        }


def read_index(folder: epath.PathLike) -> ImageIndex | None:
    """Reads the index of the images in a folder.

    Args:
        folder: The folder; any path that `etils.epath` knows.

    Returns:
        The index, or `None` if there is none or its writing was interrupted.

    Raises:
        ValueError: If the file is not such an index.
    """
    folder = absolute_path(folder)
    file = folder / _FILE_NAME
    if not file.exists():
        return None
    try:
        header, *rows = map(tuple, csv.reader(file.read_text().splitlines() or [""]))
        if header != _COLUMNS or {len(row) for row in rows} != {len(_COLUMNS)}:
            raise ValueError(f"its columns must be {', '.join(_COLUMNS)}")
        paths, labels, splits = zip(*rows, strict=True)
        for path in paths:
            if not is_inside(path):
                raise ValueError(f"{path!r} is outside its folder")
        return ImageIndex(
            paths=np.array([f"{folder}/{path}" for path in paths]),
            labels=np.array(labels, "int64"),
            splits=np.array(splits),
        )
    # A file that is not text is not a CSV file either.
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{file} is damaged; delete it, and it will be rebuilt: {error}"
        ) from error


def write_index(folder: epath.PathLike, rows: Iterable[tuple[str, int, str]]):
    """Writes the index of the images in a folder atomically.

    Args:
        folder: The folder; any path that `etils.epath` knows.
        rows: Path relative to the folder, class and split of each image.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    # A reader must never see half an index.
    unfinished = epath.Path(folder) / f"{_FILE_NAME}.unfinished"
    unfinished.write_text(text.getvalue())
    unfinished.replace(epath.Path(folder) / _FILE_NAME)


def absolute_path(path: epath.PathLike) -> epath.Path:
    """Returns the absolute path or the URL, with `~` expanded.

    Args:
        path: A local path or a URL such as `gs://bucket/folder`.

    Example:

    >>> str(absolute_path("gs://bucket/images"))
    'gs://bucket/images'
    """
    if "\0" in os.fspath(path):
        raise ValueError(f"a path cannot contain a NUL character; got {os.fspath(path)!r}")
    try:
        path = epath.Path(path).expanduser()
    except KeyError as error:
        raise ValueError(f"{path} is neither a local path nor a URL of a known bucket") from error
    # `resolve` alone would take a URL for a relative path.
    return path if path.is_absolute() else path.resolve()


def is_inside(path: str) -> bool:
    """Returns whether a path from elsewhere stays in the folder that it is relative to.

    Args:
        path: The path, with slashes.

    Example:

    >>> is_inside("img/a.jpg"), is_inside("img/../../a.jpg"), is_inside("/etc/passwd")
    (True, False, False)
    """
    normal = posixpath.normpath(path)
    return bool(path) and not (
        "\0" in path or is_remote(path) or normal.startswith("/") or normal.split("/")[0] == ".."
    )


def is_remote(path: epath.PathLike) -> bool:
    """Returns whether a path is a URL such as `gs://bucket/folder`."""
    return "://" in os.fspath(path)


def is_regular_file(path: epath.PathLike) -> bool:
    """Returns whether a path is a regular file, not a folder or a pipe, which would block readers.

    Args:
        path: A local path or a URL.
    """
    if is_remote(path):
        return epath.Path(path).exists()
    return os.path.isfile(path)


def file_state(path: str) -> list[int] | None:
    """Returns the size and time of a file, which change when its contents do.

    Args:
        path: A local path or a URL.

    Returns:
        The size in bytes and the time of the last change, or `None` if it is not a file.
    """
    try:
        if is_remote(path):
            status = tf.io.gfile.stat(path)
            return None if status.is_directory else [status.length, status.mtime_nsec]
        status = os.stat(path)
    except (OSError, tf.errors.OpError, UnicodeError, ValueError):
        return None
    # Not a pipe, which would block readers.
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None
