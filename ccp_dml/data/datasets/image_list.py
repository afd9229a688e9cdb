"""Reads CSV files that list images."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etils import epath

from ccp_dml.checks import check_one_of, list_first, printable
from ccp_dml.data.datasets.class_folders import SPLITS, ImageRow
from ccp_dml.data.image_index import absolute_path, is_remote

_COLUMNS = ("path", "label", "split")
_MAX_LISTED = 10


class ImageList(NamedTuple):
    """The contents of a CSV file.

    Attributes:
        rows: The images in the order of the file, each once; `label` and `split` are empty where
            the file does not give them.
        notes: Remarks on repeated rows, in sentences.
    """

    rows: list[ImageRow]
    notes: list[str]


def read_image_list(file: epath.Path, required: Sequence[str] = ("path", "label")) -> ImageList:
    """Reads a CSV file with the columns `path`, `label` and `split`.

    Args:
        file: The file, in UTF-8, with commas between columns.
        required: The columns without which a file is wrong; a row must have a text in each of them.
            Defaults to path and label. A file with the column `split` must give one in every row
            if `label` is required too.

    Returns:
        The images, and notes on repeated rows.

    Raises:
        ValueError: If this is not such a file, it names a column twice, a row is incomplete, has
            more fields than there are columns, an unknown split or an unreadable address, or two
            rows give the same file different classes or splits; the message names the lines.
    """
    rows, line_numbers, repeated = {}, {}, []
    for number, row in _parse_rows(file, required):
        first = rows.setdefault(row.path, row)
        if first != row:
            raise ValueError(
                f"lines {line_numbers[row.path]} and {number} of {file} contradict each other: "
                f"{printable(row.path)} is {_describe(first)} and {_describe(row)}"
            )
        if row.path in line_numbers:
            repeated.append(number)
        line_numbers.setdefault(row.path, number)
    if not rows:
        raise ValueError(f"{file} contains no images: each line below the first must name one")
    notes = []
    if repeated:
        notes.append(
            f"repeated rows of {file} ({len(repeated)}) are counted once; their lines: "
            f"{list_first(repeated, _MAX_LISTED)}"
        )
    return ImageList(list(rows.values()), notes)


def _parse_rows(file, required) -> Iterator[tuple[int, ImageRow]]:
    """Yields the number of the last line of each row, and the row."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is neither a folder nor a CSV file in UTF-8: {error}") from error
    # Otherwise a quotation mark that is never closed makes all lines below it one text.
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    begin = 1
    try:
        columns = reader.fieldnames or []
        if not set(required) <= set(columns):
            optional = [name for name in _COLUMNS if name not in required]
            raise ValueError(
                f"the first line of {file} must name the columns {', '.join(required)} and, "
                f"optionally, {' and '.join(optional)}; got "
                f"{printable(', '.join(columns))[:200] or 'nothing'}"
            )
        for name in _COLUMNS:
            if columns.count(name) > 1:
                raise ValueError(f"the first line of {file} names the column {name} more than once")
        begin = reader.line_num + 1
        for fields in reader:
            where = f"line {reader.line_num} of {file}"
            yield reader.line_num, _parse_row(fields, columns, required, file.parent, where)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{file} is not a CSV file: in the row that begins in line {begin}, {error}; fields "
            "that contain commas or double quotes must be in double quotes, with the double quotes "
            "inside them doubled"
        ) from error


def _parse_row(fields, columns, required, folder, where):
    # Programs may end every line with commas.
    surplus = [text for text in fields.pop(None, ()) if text.strip()]
    if surplus:
        raise ValueError(
            f"{where} has more fields than the first line has columns ({', '.join(columns)}), "
            f"starting with {surplus[0]!r}: put fields that contain commas in double quotes"
        )
    path, label, split = ((fields.get(name) or "").strip() for name in _COLUMNS)
    for name, text in (("path", path), ("label", label)):
        if name in required and not text:
            raise ValueError(f"{where} has no {name}")
    if split or ("split" in columns and "label" in required):
        check_one_of(f"{where}: split", split, SPLITS)
    try:
        return ImageRow(resolve_path(folder, path), label, split)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _describe(row):
    label = repr(row.class_name) if row.class_name else "of no class"
    return f"{label}{f' in {row.split}' if row.split else ''}"


def resolve_path(folder: epath.Path, path: str) -> str:
    """Resolves a path, so that a file always has the same string.

    Args:
        folder: The folder that a relative path refers to.
        path: A local path or a URL.

    Raises:
        ValueError: If it is neither.
    """
    if is_remote(path) or "\0" in path:
        return os.fspath(absolute_path(path))
    path = os.path.expanduser(path)
    if is_remote(folder):
        return path if os.path.isabs(path) else os.fspath(folder / path)
    return os.path.normpath(os.path.join(folder, path))
