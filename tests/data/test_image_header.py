"""Headers of images against Pillow's."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ccp_dml.data.image_header import IMAGE_FORMATS, ImageHeader, check_pixels, read_header
from tests.data.pictures import encoded, gradient

OPTIONS = {
    "JPEG": [{}, {"progressive": True}, {"exif": b"Exif\0\0" + bytes(3000)}, {"comment": b"\xff"}],
    "PNG": [{}],
    "GIF": [{}],
    "BMP": [{}],
    "WEBP": [{}, {"lossless": True}, {"exif": b"Exif\0\0" + bytes(30)}],
}


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (300, 70), (17, 4000)])
def test_headers_say_format_and_size(kind, height, width):
    for options in OPTIONS[kind]:
        contents = encoded(gradient(height, width), kind, **options)
        assert read_header(contents) == ImageHeader(kind, width, height)


def test_transparent_webp():
    for lossless in (True, False):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 4), "uint8")
        contents = encoded(pixels, "WEBP", lossless=lossless)
        assert read_header(contents) == ImageHeader("WEBP", 41, 30)


def test_other_headers_of_bmp():
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 7, 5, 1, 24) + bytes(120)
    assert read_header(old) == ImageHeader("BMP", 7, 5)
    from_top = b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 7, -5, 1, 24) + bytes(140)
    assert read_header(from_top) == ImageHeader("BMP", 7, 5)


def test_frames_beyond_the_canvas_of_a_gif():
    contents = encoded(gradient(20, 30), "GIF", comment=b"x" * 700)
    smaller = contents[:6] + struct.pack("<HH", 3, 50) + contents[10:]
    assert read_header(smaller) == ImageHeader("GIF", 30, 50)


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_damaged_headers_are_named(kind):
    contents = encoded(gradient(3, 3), kind)
    errors = set()
    for length in range(len(contents)):
        try:
            assert read_header(contents[:length]) == ImageHeader(kind, 3, 3)
        except ValueError as error:
            errors.add(str(error))
    assert errors == {"is not in one of the formats JPEG, PNG, GIF, BMP, WEBP", "is damaged"}


@pytest.mark.parametrize("contents", [b"", b"notes", b"RIFF\0\0\0\0WAVEfmt ", b"\x89PNG", b"%PDF"])
def test_what_is_no_image_is_named(contents):
    with pytest.raises(
        ValueError, match=r"^is not in one of the formats JPEG, PNG, GIF, BMP, WEBP$"
    ):
        read_header(contents)


def test_sizes_of_nothing_are_damage():
    with pytest.raises(ValueError, match=r"^is damaged$"):
        read_header(b"GIF89a" + bytes(30))


def test_bombs_are_refused_by_their_header(monkeypatch):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    header = read_header(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b""))
    assert header == ImageHeader("PNG", 60_000, 60_000)
    with pytest.raises(ValueError, match="has 60000 x 60000 pixels, more than max_pixels, 5000"):
        check_pixels(header)
    check_pixels(header, max_pixels=60_000**2)
    # Pillow's own limit, which holds for the whole process, is not applied.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_header(encoded(gradient(30, 40), "PNG")).width == 40
