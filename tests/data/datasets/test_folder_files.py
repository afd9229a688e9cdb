"""Files in folders of images that are not images, are damaged or are too large."""

import os
import pathlib
import types

import numpy as np
import pytest

from ccp_dml.data import image_check, index_folder
from tests.data.datasets.shoes import SIZES, write_csv
from tests.data.pictures import encoded, gradient


def test_files_that_cannot_be_read(shoes):
    os.mkfifo(shoes / "boot" / "pipe.jpg")
    (shoes / "boot" / "gone.jpg").symlink_to(shoes / "nowhere.jpg")
    os.symlink(shoes / "heel" / "0.jpg", os.fsencode(shoes / "heel") + b"/\xff.jpg")
    with pytest.raises(ValueError, match="3 of 14 files") as error:
        index_folder(str(shoes))
    for problem in ("pipe.jpg (is not a file)", "gone.jpg (is not a file)", "not UTF-8"):
        assert problem in str(error.value)


def damage(shoes):
    whole = encoded(gradient(40, 40))
    (shoes / "boot" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (shoes / "boot" / "empty.jpg").write_bytes(b"")
    (shoes / "heel" / "text.jpg").write_text("this is no image")
    png = bytearray(encoded(gradient(40, 40), "PNG"))
    png[len(png) // 2] ^= 255
    (shoes / "heel" / "flipped.png").write_bytes(png)
    (shoes / "heel" / "photo.tiff").write_bytes(encoded(gradient(4, 4), "TIFF"))


def test_bad_images_stop_with_a_list(shoes):
    damage(shoes)
    with pytest.raises(ValueError, match="max_bad_images is 0") as error:
        index_folder(str(shoes))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("5 of 16 files")
    for name, problem in [
        ("boot/cut.jpg", "is damaged"),
        ("boot/empty.jpg", "is empty"),
        ("heel/text.jpg", "is not in one of the formats JPEG, PNG, GIF, BMP, WEBP"),
        ("heel/flipped.png", "is damaged"),
        ("heel/photo.tiff", "is not in one of the formats JPEG, PNG, GIF, BMP, WEBP"),
    ]:
        assert f"{shoes / name} ({problem})" in message


def test_bad_images_are_skipped_up_to_a_number(shoes, warnings_of):
    damage(shoes)
    with pytest.raises(ValueError, match="max_bad_images is 4"):
        index_folder(str(shoes), max_bad_images=4)
    index = index_folder(str(shoes), max_bad_images=5)
    assert len(index) == sum(SIZES.values())
    messages = warnings_of()
    (message,) = (
        message for message in messages if "Skipped bad images (5 of 16 files)" in message
    )
    assert "cut.jpg (is damaged)" in message
    assert message == f"{index.notes[0]}."


def test_long_lists_are_cut_short(tmp_path):
    (tmp_path / "class").mkdir()
    for number in range(30):
        (tmp_path / "class" / f"{number}.jpg").write_text("no image")
    with pytest.raises(ValueError, match="and 10 more"):
        index_folder(str(tmp_path))
    with pytest.raises(ValueError, match="none of the 30 files is an image"):
        index_folder(str(tmp_path), max_bad_images=30)


def test_images_are_checked_once_unless_they_change(shoes, monkeypatch):
    index_folder(str(shoes))
    looked_at = []
    original = image_check._find_problem

    def counted(path, *others):
        looked_at.append(path)
        return original(path, *others)

    monkeypatch.setattr(image_check, "_find_problem", counted)
    index_folder(str(shoes))
    assert looked_at == []
    os.remove(shoes / "boot" / "2.jpg")
    assert len(index_folder(str(shoes))) == sum(SIZES.values()) - 1
    assert looked_at == []
    (shoes / "boot" / "1.jpg").write_bytes(b"not an image any more")
    with pytest.raises(ValueError, match="is not in one of the formats JPEG"):
        index_folder(str(shoes))
    assert [os.path.basename(path) for path in looked_at] == ["1.jpg"]


def test_files_that_could_not_be_read_are_read_again(shoes, monkeypatch):
    locked = str(shoes / "boot" / "0.jpg")

    def read(path):
        if path == locked:
            raise PermissionError(f"[Errno 13] Permission denied: {path!r}")
        return pathlib.Path(path)

    with monkeypatch.context() as context:
        context.setattr(image_check, "epath", types.SimpleNamespace(Path=read))
        found = image_check.image_problems([locked, str(shoes / "heel" / "0.jpg")], "shoes")
    assert found == {locked: f"cannot be read: [Errno 13] Permission denied: {locked!r}"}
    assert not image_check.image_problems([locked], "shoes")


def test_images_need_no_suffix_but_a_suffix_promises_an_image(shoes):
    (shoes / "boot" / "scan0001").write_bytes(encoded(gradient(5, 5)))
    (shoes / "boot" / "scan0002.dat").write_bytes(encoded(gradient(5, 5), "PNG"))
    assert np.bincount(index_folder(str(shoes)).labels)[0] == 5
    (shoes / "boot" / "cut").write_bytes(encoded(gradient(40, 40))[:400])
    (shoes / "boot" / "text.JPG").write_text("no image")
    with pytest.raises(ValueError, match=r"2 of 15 files") as error:
        index_folder(str(shoes))
    assert "boot/cut (is damaged)" in str(error.value)
    assert "boot/text.JPG (is not in one of the formats JPEG" in str(error.value)


def test_a_listed_file_is_meant_to_be_an_image(shoes):
    (shoes / "boot" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"1 of 1 .*notes.txt \(is not in one of the formats JPEG"):
        index_folder(write_csv(shoes / "list.csv", "path,label", "boot/notes.txt,boot"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP"])
def test_other_formats_are_images(shoes, kind):
    (shoes / "boot" / f"x.{kind.lower()}").write_bytes(encoded(gradient(9, 7), kind))
    assert len(index_folder(str(shoes))) == sum(SIZES.values()) + 1
    (shoes / "boot" / "cut.jpg").write_bytes(encoded(gradient(9, 7), kind)[:-60])
    with pytest.raises(ValueError, match=r"cut.jpg \(is damaged\)"):
        index_folder(str(shoes))


def test_large_images_are_refused_before_they_are_decoded(shoes, monkeypatch):
    (shoes / "boot" / "large.png").write_bytes(encoded(gradient(60, 50), "PNG"))
    decoded = []
    original = image_check._decode
    monkeypatch.setattr(
        image_check, "_decode", lambda data: decoded.append(len(data)) or original(data)
    )
    with pytest.raises(ValueError, match=r"large.png \(has 50 x 60 pixels, more than max_pixels,"):
        index_folder(str(shoes), max_pixels=2999)
    assert len(decoded) == sum(SIZES.values())
    # The result of the check is kept for this bound only.
    assert len(index_folder(str(shoes), max_pixels=3000)) == sum(SIZES.values()) + 1


def test_files_too_large_for_memory_are_not_read(shoes, monkeypatch):
    large = shoes / "boot" / "large.jpg"
    large.write_bytes(encoded(gradient(6, 5)))
    os.truncate(large, 2**26)
    monkeypatch.setattr(image_check, "_decode", lambda data: None)
    with pytest.raises(ValueError, match=r"large.jpg \(has 67,108,864 bytes, too many for max_pix"):
        index_folder(str(shoes), max_pixels=1000)


def test_bmps_that_are_not_read_are_not_called_damaged(shoes):
    contents = bytearray(encoded(gradient(5, 5), "BMP"))
    contents[28] = 16
    (shoes / "boot" / "16 bits.bmp").write_bytes(contents)
    with pytest.raises(ValueError, match=r"16 bits.bmp \(is a BMP that is compressed, of"):
        index_folder(str(shoes))
