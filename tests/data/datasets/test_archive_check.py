import io
import tarfile

import pytest

from ccp_dml.data.datasets import archive_check
from ccp_dml.data.datasets.archive_check import check_archive
from ccp_dml.data.image_index import absolute_path
from tests.data import archives


def check(path, *lists):
    check_archive(absolute_path(path), lists)


def write_tar(path, name, **attributes):
    """A tar file with the given member, and another one before it."""
    with tarfile.open(path, "w:gz") as archive:
        for each in ("before.txt", name):
            member = tarfile.TarInfo(each)
            if each == name:
                for attribute, value in attributes.items():
                    setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(bytes(member.size)))


@pytest.mark.parametrize("name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    archives.write_zip(tmp_path / "a.zip", {"a/x.jpg": b"", name: b""})
    write_tar(tmp_path / "a.tgz", name)
    for archive in ("a.zip", "a.tgz"):
        with pytest.raises(ValueError, match=rf"{archive}: {name} points outside the archive, to"):
            check(tmp_path / archive)


@pytest.mark.parametrize(
    ("kind", "target", "is_refused"),
    [
        (tarfile.SYMTYPE, "/etc/passwd", True),
        (tarfile.SYMTYPE, "../../etc/passwd", True),
        (tarfile.SYMTYPE, "../before.txt", False),
        (tarfile.LNKTYPE, "../etc/passwd", True),
        (tarfile.LNKTYPE, "before.txt", False),
    ],
)
def test_links_that_lead_out_are_refused(tmp_path, kind, target, is_refused):
    write_tar(tmp_path / "a.tgz", "folder/x.jpg", type=kind, linkname=target)
    if is_refused:
        with pytest.raises(ValueError, match=r"a.tgz: folder/x.jpg points outside the archive, to"):
            check(tmp_path / "a.tgz")
    else:
        check(tmp_path / "a.tgz")


def test_large_members_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_check, "MAX_IMAGE_BYTES", 2000)
    monkeypatch.setattr(archive_check, "_MAX_BYTES", 5000)
    for name, size, is_refused in [
        ("x.JPG", 2001, True),
        ("x.jpg", 2000, False),
        ("x.txt", 5001, True),
        ("x.txt", 5000, False),
    ]:
        archives.write_zip(tmp_path / "a.zip", {name: bytes(size)})
        write_tar(tmp_path / "a.tgz", name, size=size)
        for archive in ("a.zip", "a.tgz"):
            if is_refused:
                with pytest.raises(ValueError, match=rf"{archive}: {name} has \d,001 bytes, more"):
                    check(tmp_path / archive)
            else:
                check(tmp_path / archive)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.tgz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"a.tgz is truncated or damaged: "):
        check(tmp_path / "a.tgz")


@pytest.mark.parametrize("contents", [b"\xff\xfe", None])
def test_lists_must_be_there_as_text(tmp_path, contents):
    files = {"a/x.jpg": b"", **({"a/list.txt": contents} if contents else {})}
    archives.write_zip(tmp_path / "a.zip", files)
    with pytest.raises(ValueError, match=r"a.zip: a/list.txt is missing or not a text file"):
        check(tmp_path / "a.zip", "a/list.txt")
