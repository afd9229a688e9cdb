"""Lists the files of a folder with a subfolder for each class."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf
from etils import epath

from ccp_dml.checks import list_first, printable
from ccp_dml.data.image_index import is_remote

SPLITS = ("train", "val", "test", "query", "gallery")
# If one of these folders exists, folders named like splits are splits.
_OTHER_SPLITS = frozenset(SPLITS) - {"train"}
_MAX_LISTED = 10


class ImageRow(NamedTuple):
    """A file that should be an image.

    Attributes:
        path: Absolute path or URL.
        class_name: Name of its class.
        split: One of `SPLITS`, or empty if no split is given.
    """

    path: str
    class_name: str
    split: str


class ClassFolders(NamedTuple):
    """The contents of a folder.

    Attributes:
        rows: Its files.
        folders: The path relative to the folder, the class and the split of each folder of a class,
            whether or not there are files in it.
        notes: Remarks on irregularities, in sentences.
    """

    rows: list[ImageRow]
    folders: list[ImageRow]
    notes: list[str]


def read_class_folders(folder: epath.Path) -> ClassFolders:
    """Lists the files below the subfolders of a folder, whatever they are.

    The subfolders are those of the classes. If one is called `train` and another `val`, `test`,
    `query` or `gallery`, with folders in them, they are the splits, with a subfolder for each
    class. Names that begin with a dot or `__MACOSX` are ignored.

    Args:
        folder: Absolute path or URL.

    Returns:
        Files, folders of classes, and notes on files outside of all classes and on folders inside
        those of classes.

    Raises:
        ValueError: If there are folders of splits and other folders.
        OSError: If a folder cannot be read.
    """
    children = _list_visible(folder)
    folders = [child for child in children if child.is_dir()]
    given = {child.name for child in folders if child.name in SPLITS and _list_folders(child)}
    if "train" not in given or not given & _OTHER_SPLITS:
        return _read_classes(folder, "")
    unknown = [printable(child.name) for child in folders if child.name not in SPLITS]
    if unknown:
        raise ValueError(
            f"{folder} has folders for splits, but also other folders: "
            f"{list_first(unknown, _MAX_LISTED)}; the folders for splits are "
            f"{', '.join(SPLITS)}"
        )
    parts = [_read_classes(root, root.name) for root in folders]
    return ClassFolders(
        [row for part in parts for row in part.rows],
        [class_folder for part in parts for class_folder in part.folders],
        [*_note_loose_files(folder, children), *(note for part in parts for note in part.notes)],
    )


def _read_classes(root, split):
    """Reads a folder whose subfolders are classes."""
    children = _list_visible(root)
    class_folders = [child for child in children if child.is_dir()]
    rows, nested = [], []
    for class_folder in class_folders:
        for path, is_folder in _walk_below(class_folder):
            if is_folder:
                nested.append(os.path.relpath(path, root))
            else:
                rows.append(ImageRow(path, class_folder.name, split))
    notes = _note_loose_files(root, children)
    if nested:
        listed = list_first(map(printable, nested), _MAX_LISTED)
        notes.append(
            f"folders in {root} inside class folders ({len(nested)}): {listed}; their images "
            "belong to those classes"
        )
    folders = [
        ImageRow(os.path.join(split, child.name), child.name, split) for child in class_folders
    ]
    return ClassFolders(rows, folders, notes)


def _note_loose_files(folder, children):
    loose = [printable(child.name) for child in children if not child.is_dir()]
    if not loose:
        return []
    listed = list_first(loose, _MAX_LISTED)
    return [f"files in {folder} that belong to no class ({len(loose)}): {listed}"]


def _list_folders(folder):
    return [child for child in _list_visible(folder) if child.is_dir()]


def _list_visible(folder):
    visible = [child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX"))]
    return sorted(visible, key=lambda child: child.name)


def _walk_below(folder) -> Iterator[tuple[str, bool]]:
    """Yields the paths of everything visible below a folder, and whether each is a folder."""
    for parent, folders, names in walk_folders(os.fspath(folder)):
        # Folders removed here are not descended into.
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from ((os.path.join(parent, name), True) for name in folders)
        yield from (
            (os.path.join(parent, name), False) for name in names if not name.startswith(".")
        )


def walk_folders(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks all folders below a folder, each target of links only once.

    Links to folders above are not followed: files beside the folder do not belong to it.

    Args:
        folder: Local path or URL.

    Yields:
        The path, the names of the folders in it (those removed from the list are not descended
        into), and the names of the files, like `os.walk`.

    Raises:
        OSError: If a folder cannot be read.
    """
    if is_remote(folder):
        yield from tf.io.gfile.walk(folder)
        return
    # TensorFlow's walk takes several times as long for local folders.
    start, visited = os.path.realpath(folder), set()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        is_above = start != real and os.path.commonpath([start, real]) == real
        if real in visited or is_above:
            folders.clear()
            continue
        visited.add(real)
        yield parent, folders, names


def _raise(error):
    raise error
