"""Checks archives before anything is read from them: names, links, sizes, damage."""

import csv
import io
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath

from ccp_dml.checks import printable
from ccp_dml.data.image_index import is_inside

MAX_IMAGE_BYTES = 2**25
"""More than any image of the official sets has."""
# More than the size of their largest list.
_MAX_BYTES = 2**29
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

# Errors that Python raises for archives that are truncated, damaged or encrypted.
ARCHIVE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


class _Member(NamedTuple):
    name: str
    size: int
    # Target of a link, relative to the folder of the archive; empty if it is not a link.
    target: str


def check_archive(path: epath.Path, lists: tuple[str, ...] = ()):
    """Checks an archive without extracting it.

    Args:
        path: A file `.zip`, or a tar file that may be compressed.
        lists: Members that list images in a column `path`, relative to the folder of the list, with
            a space between columns.

    Raises:
        ValueError: If it is truncated or damaged, the name or the link of a member leads out of it,
            a member has far more bytes than any in an official archive, or a list names something
            outside its folder; the message names the archive and the member.
    """
    try:
        for member in _read_members(path):
            where = f"{path}: {printable(member.name)}"
            for target in (member.name, member.target):
                if target and not is_inside(target):
                    raise ValueError(f"{where} points outside the archive, to {target!r}")
            is_image = member.name.lower().endswith(_IMAGE_SUFFIXES)
            largest = MAX_IMAGE_BYTES if is_image else _MAX_BYTES
            if member.size > largest:
                raise ValueError(f"{where} has {member.size:,} bytes, more than {largest:,}")
        for name in lists:
            _check_list(path, name)
    except (*ARCHIVE_ERRORS, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is truncated or damaged: {reason}") from error


def _read_members(path) -> Iterator[_Member]:
    with path.open("rb") as file:
        if path.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    yield _Member(member.filename, member.file_size, "")
            return
        with tarfile.open(fileobj=file) as archive:
            for member in archive:
                target = member.linkname if member.islnk() else ""
                if member.issym():
                    folder = posixpath.dirname(member.name)
                    target = posixpath.join(folder, member.linkname)
                yield _Member(member.name, member.size, target)


def _check_list(path, name):
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        try:
            text = archive.read(name).decode()
        except (KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {name} is missing or not a text file: {error}") from error
    rows = csv.DictReader(io.StringIO(text), delimiter=" ")
    for row in rows:
        if not is_inside(row.get("path") or ""):
            raise ValueError(
                f"{path}: {name}, line {rows.line_num}, names something outside its folder: "
                f"{row.get('path')!r}"
            )
