import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from ccp_dml.data import ImageFiles, LabeledImages, Preprocessing
from ccp_dml.data.decoding import decode_image
from ccp_dml.report import load_thumbnail, make_thumbnails
from tests.data.pictures import encoded, gradient


def test_the_longer_side_is_as_asked_for(tmp_path):
    pixels = gradient(300, 600)
    (tmp_path / "a.jpg").write_bytes(encoded(pixels))
    found = load_thumbnail(tmp_path / "a.jpg", size=50)
    assert found.shape == (25, 50, 3)
    coarse = pixels.reshape(25, 12, 50, 12, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found, coarse, atol=6)
    assert load_thumbnail(tmp_path / "a.jpg", size=1000).shape == (300, 600, 3)


def test_transparency_is_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), "uint8")
    pixels[:4, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_thumbnail(tmp_path / "a.png")
    assert found[:4].max() == 0
    assert found[4:].min() == 255


def test_of_sixteen_bits_the_upper_eight_are_shown(tmp_path):
    pixels = np.arange(0, 65536, 1024, "uint16").reshape(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_thumbnail(tmp_path / "a.png")
    np.testing.assert_array_equal(found, np.repeat(pixels[..., None] // 256, 3, axis=2))
    np.testing.assert_array_equal(found, decode_image((tmp_path / "a.png").read_bytes()))


def test_images_are_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient(20, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert load_thumbnail(tmp_path / "a.jpg").shape == (40, 20, 3)


def test_exif_data_that_networks_ignore_turn_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = b"eXIf" + exif.tobytes()[len(b"Exif\0\0") :]
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    contents = encoded(gradient(20, 40), "PNG")
    # The metadata come after the pixels.
    (tmp_path / "a.png").write_bytes(contents[:-12] + chunk + contents[-12:])
    assert ImageOps.exif_transpose(Image.open(tmp_path / "a.png")).size == (20, 40)
    assert load_thumbnail(tmp_path / "a.png").shape == (20, 40, 3)


def test_what_cannot_be_read(tmp_path):
    assert load_thumbnail(tmp_path / "none.jpg") is None
    (tmp_path / "text.jpg").write_text("text")
    assert load_thumbnail(tmp_path / "text.jpg") is None
    (tmp_path / "half.png").write_bytes(encoded(gradient(90, 90), "PNG")[:300])
    assert load_thumbnail(tmp_path / "half.png") is None
    Image.new("1", (10_000, 5_001)).save(tmp_path / "large.png")
    assert load_thumbnail(tmp_path / "large.png") is None


def test_images_in_memory(generator):
    images = generator.uniform(size=(5, 8, 6, 1)).astype("float32")
    data = LabeledImages(images, np.arange(5))
    shown = make_thumbnails(data, np.array([3, 1]))
    np.testing.assert_array_equal(shown, np.round(255 * images[[3, 1]]))
    assert make_thumbnails(data, np.array([0]), size=4).shape == (1, 4, 3, 1)


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_images_in_files(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path / "cache"))
    paths = []
    for number, color in enumerate(["red", "lime", "blue"]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (90, 60), color).save(paths[-1])
    data = ImageFiles(np.array(paths), np.arange(3), Preprocessing(40, scaling="bgr"), cache)
    shown = make_thumbnails(data, np.array([2, 0]), size=20)
    assert shown.shape == (2, 20, 20, 3)
    np.testing.assert_array_equal(shown[:, 10, 10], [[0, 0, 255], [255, 0, 0]])
    # A report leaves nothing in the cache.
    assert not (tmp_path / "cache" / "evaluation").exists()
