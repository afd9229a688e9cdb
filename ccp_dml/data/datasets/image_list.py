"""Reads CSV files that list images."""

import csv
import io
import os

from etils import epath

from ccp_dml.checks import check_one_of, list_first, printable
from ccp_dml.data.datasets.class_folders import SPLITS, ImageRow
from ccp_dml.data.image_index import absolute_path, is_remote

_MAX_LISTED = 10


def read_image_list(file: epath.Path) -> tuple[list[ImageRow], list[str]]:
    """Reads a CSV file with the columns `path`, `label` and, optionally, `split`.

    Args:
        file: The file, in UTF-8.

    Returns:
        The images, each once, and notes on repeated rows.

    Raises:
        ValueError: If this is not such a file, a row is incomplete or has an unknown split or
            unreadable address, or two rows give the same file different classes or splits; the
            message names the lines.
    """
    rows, line_numbers, repeated = {}, {}, []
    try:
        text = file.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
        columns = reader.fieldnames or []
        if not {"path", "label"} <= set(columns):
            raise ValueError(
                f"the first line of {file} must name the columns path, label and, optionally, "
                f"split; got {printable(', '.join(columns))[:200] or 'nothing'}"
            )
        for fields in reader:
            number = reader.line_num
            row = _parse_row(fields, "split" in columns, file.parent, f"line {number} of {file}")
            first = rows.setdefault(row.path, row)
            if first != row:
                raise ValueError(
                    f"lines {line_numbers[row.path]} and {number} of {file} contradict each other: "
                    f"{printable(row.path)} is {_describe(first)} and {_describe(row)}"
                )
            if row.path in line_numbers:
                repeated.append(number)
            line_numbers.setdefault(row.path, number)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{file} contains no images: each line below the first must name one")
    notes = []
    if repeated:
        notes.append(
            f"{len(repeated)} rows of {file} repeat others and are counted once: lines "
            f"{list_first(repeated, _MAX_LISTED)}"
        )
    return list(rows.values()), notes


def _describe(row):
    return f"{row.class_name!r}{f' in {row.split}' if row.split else ''}"


def _parse_row(fields, has_split, folder, where):
    path, label = (fields["path"] or "").strip(), (fields["label"] or "").strip()
    split = (fields["split"] or "").strip() if has_split else ""
    if not path or not label:
        raise ValueError(f"{where} has no {'label' if path else 'path'}")
    if has_split:
        check_one_of(f"{where}: split", split, SPLITS)
    try:
        return ImageRow(resolve_path(folder, path), label, split)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


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
