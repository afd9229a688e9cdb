"""Decoded images against Pillow's, turned by Pillow and composited in float64."""

import functools
import io
import itertools
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from ccp_dml.data.decoding import composite, decode_image
from tests.cases import slow_except
from tests.data.pictures import encoded, gradient

ORANGE = (255, 128, 0)


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, "uint8")


def save(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def palette_picture():
    picture = Image.fromarray(noise(9, 13, 1)[..., 0] % 4)
    picture.putpalette([10, 20, 30, 200, 100, 50, 250, 250, 0, 0, 0, 255])
    return picture


def decoded_by_pillow(contents):
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(contents)))
    return np.asarray(picture.convert("RGBA"), "float64")


def composited(pixels, background):
    alpha = pixels[..., 3:] / 255
    return np.round(pixels[..., :3] * alpha + np.array(background) * (1 - alpha))


@functools.cache
def compiled(background):
    return tf.function(
        lambda contents: decode_image(contents, background),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def check(contents, tolerance=0, pixels=None):
    pixels = decoded_by_pillow(contents) if pixels is None else pixels
    for background in ((255, 255, 255), ORANGE):
        decoded = compiled(background)(contents).numpy()
        expected = composited(pixels, background)
        assert decoded.dtype == "uint8"
        assert decoded.shape == expected.shape
        assert np.abs(decoded - expected).max() <= tolerance


def test_compositing_is_exact_for_all_alphas():
    alpha, value = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([value, value, value, alpha], axis=-1).astype("uint8")
    expected = np.round((value * alpha + np.array(128) * (255 - alpha)) / 255)
    blended = composite(pixels, ORANGE).numpy()
    np.testing.assert_array_equal(blended[..., 1], expected)
    np.testing.assert_array_equal(blended[:, 255], pixels[:, 255, :3])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png(mode):
    check(save(Image.fromarray(noise(9, 13, 4)).convert(mode), "PNG"))


@pytest.mark.parametrize("transparent", [None, 1])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_png_of_few_bits(depth, transparent):
    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    row, height = b"\x1b\xe4", 3
    contents = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16 // depth, height, depth, 0, 0, 0, 0))
        + (chunk(b"tRNS", struct.pack(">H", transparent)) if transparent else b"")
        + chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
        + chunk(b"IEND", b"")
    )
    # Not all versions of Pillow find a transparent colour of few bits.
    bits = np.unpackbits(np.frombuffer(row, "uint8")).reshape(-1, depth)
    values = bits @ 2 ** np.arange(depth)[::-1]
    grey, alpha = values * 255 / (2**depth - 1), np.where(values == transparent, 0, 255)
    check(contents, pixels=np.tile(np.stack([grey, grey, grey, alpha], -1), (height, 1, 1)))


def test_transparent_palettes_of_png():
    check(save(palette_picture(), "PNG", bits=2, transparency=bytes([0, 100, 255, 30])))


def test_transparent_colours_of_png():
    grey, color = noise(9, 13, 1)[..., 0], noise(9, 13, 3)
    check(save(Image.fromarray(grey), "PNG", transparency=int(grey[2, 3])))
    check(save(Image.fromarray(color), "PNG", transparency=tuple(color[2, 3].tolist())))


def test_png_of_16_bits():
    deep = np.random.default_rng(0).integers(0, 65536, (9, 13), "uint16")
    decoded = decode_image(save(Image.fromarray(deep), "PNG")).numpy()
    np.testing.assert_array_equal(decoded, np.repeat(deep[..., None] // 256, 3, axis=2))


def test_gif():
    for options in ({}, {"transparency": 2}, {"transparency": 0, "comment": b"x" * 700}):
        check(save(palette_picture(), "GIF", **options))
    check(save(Image.fromarray(noise(9, 13, 1)[..., 0]), "GIF", interlace=1))


def test_the_first_frame_of_a_gif():
    first = palette_picture()
    second = first.transpose(Image.Transpose.ROTATE_180)
    check(save(first, "GIF", save_all=True, append_images=[second] * 3, transparency=2))


def test_frames_that_do_not_fill_the_canvas_of_a_gif():
    contents = bytearray(save(palette_picture(), "GIF"))
    table_size = 3 << ((contents[10] & 7) + 1)
    start = contents.index(b",", 13 + table_size)
    contents[6:10] = struct.pack("<HH", 17, 12)
    contents[start + 1 : start + 5] = struct.pack("<HH", 3, 2)
    decoded = decode_image(bytes(contents), ORANGE).numpy()
    assert decoded.shape == (12, 17, 3)
    frame = np.asarray(palette_picture().convert("RGB"))
    np.testing.assert_array_equal(decoded[2:11, 3:16], frame)
    decoded[2:11, 3:16] = ORANGE
    np.testing.assert_array_equal(decoded, np.broadcast_to(ORANGE, decoded.shape))


def test_own_colors_of_a_frame_of_a_gif():
    contents = save(palette_picture(), "GIF", transparency=1)
    flags = contents[10]
    table = contents[13 : 13 + (3 << ((flags & 7) + 1))]
    without = contents[:10] + bytes([flags & 0x7F]) + contents[11:13] + contents[13 + len(table) :]
    start = without.index(b",")
    check(without[: start + 9] + bytes([0x80 | flags & 7]) + table + without[start + 10 :])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp(mode):
    check(save(Image.fromarray(noise(9, 13, 4)).convert("RGB").convert(mode), "BMP"))


def test_bmp_of_four_bits():
    size = struct.pack("<IiiHHIIiiII", 40, 9, 3, 1, 4, 0, 24, 0, 0, 16, 0)
    body = noise(16, 4).tobytes() + noise(3, 8).tobytes()
    check(b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54 + 64) + size + body)


@pytest.mark.parametrize("sign", [1, -1])
def test_transparent_bmp(sign):
    pixels = noise(9, 13, 4)
    header = struct.pack("<IiiHHIIiiII", 108, 13, 9 * sign, 1, 32, 3, 4 * 9 * 13, 0, 0, 0, 0)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    body = pixels[::-sign, :, [2, 1, 0, 3]].tobytes()
    file = b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122)
    contents = file + header + masks + b"BGRs" + bytes(48) + body
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(contents)).convert("RGBA")), pixels
    )
    check(contents)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("channels", [3, 4])
def test_webp(lossless, channels):
    picture = Image.fromarray(noise(20, 30, channels))
    check(save(picture, "WEBP", lossless=lossless))
    other = Image.fromarray(noise(20, 30, channels)[::-1])
    check(save(picture, "WEBP", lossless=lossless, save_all=True, append_images=[other]))


def test_frames_that_do_not_fill_the_canvas_of_a_webp():
    first = Image.new("RGBA", (30, 20))
    first.paste(Image.fromarray(noise(6, 8, 3)), (10, 4))
    second = Image.new("RGBA", (30, 20), (0, 255, 0, 255))
    contents = save(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    frame_width = contents[contents.index(b"ANMF") + 14] + 1
    assert frame_width < 30
    expected = np.broadcast_to(ORANGE, (20, 30, 3)).copy()
    expected[4:10, 10:18] = noise(6, 8, 3)
    np.testing.assert_array_equal(decode_image(contents, ORANGE), expected)


def test_jpeg_of_all_kinds():
    pixels = gradient(40, 60)
    for contents in (encoded(pixels), encoded(pixels[..., 0]), encoded(pixels, progressive=True)):
        # Decoders round differently.
        check(contents, tolerance=6)
    cmyk = encoded_cmyk()
    check(cmyk, tolerance=6)
    marker = cmyk.index(b"Adobe")
    # The same as if it had been saved in YCCK.
    check(cmyk[: marker + 11] + b"\x02" + cmyk[marker + 12 :], tolerance=8)


def encoded_cmyk():
    return save(Image.fromarray(gradient(40, 60)).convert("CMYK"), "JPEG", quality=95)


# How a picture is turned does not depend on where its format stores the orientation.
TURNED_PICTURES = [*(("JPEG", orientation) for orientation in range(1, 9)), ("PNG", 6), ("WEBP", 7)]


@pytest.mark.parametrize(
    ("kind", "orientation"),
    slow_except(TURNED_PICTURES, list(itertools.product(["JPEG", "PNG", "WEBP"], range(1, 9)))),
)
def test_orientations(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    contents = encoded(gradient(20, 31), kind, exif=exif.tobytes(), **options)
    check(contents, tolerance=6 if kind == "JPEG" else 0)


def exif_data(order, entries, magic=42, offset=8, count=None):
    """A TIFF header and one directory, of tags with type, count and value."""
    data = struct.pack(f"{order}HI", magic, offset)
    data += struct.pack(f"{order}H", len(entries) if count is None else count)
    for tag, kind, number, value in entries:
        data += struct.pack(f"{order}HHIHH", tag, kind, number, value, 0)
    return b"Exif\0\0" + {"<": b"II", ">": b"MM"}[order] + data + bytes(4)


MAKER, TURNED = (0x010F, 2, 4, 0), (0x0112, 3, 1, 6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_other_entries(order):
    contents = encoded(gradient(20, 31), exif=exif_data(order, [MAKER, TURNED, MAKER]))
    assert decode_image(contents).shape == (31, 20, 3)
    check(contents, tolerance=6)


def test_exif_data_after_other_segments():
    contents = encoded(gradient(20, 31), exif=exif_data("<", [TURNED]), comment=b"xyz" * 9)
    others = b"\xff\xe2" + struct.pack(">H", 65535) + bytes(65533)
    assert decode_image(contents[:2] + 3 * others + contents[2:]).shape == (31, 20, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II",
        b"Exif\0\0" + bytes(40),
        exif_data("<", []),
        exif_data("<", [MAKER]),
        exif_data("<", [(0x0112, 3, 1, 0)]),
        exif_data("<", [(0x0112, 3, 1, 9)]),
        exif_data("<", [(0x0112, 3, 2, 6)]),
        exif_data("<", [(0x0112, 2, 1, 6)]),
        exif_data("<", [TURNED], count=0),
        exif_data("<", [TURNED], magic=43),
        exif_data(">", [TURNED], offset=2**32 - 1),
        exif_data("<", [TURNED], offset=5000),
        exif_data("<", [TURNED])[:-14],
    ],
)
def test_malformed_exif_data_are_ignored(exif):
    contents = encoded(gradient(20, 31), exif=exif)
    np.testing.assert_array_equal(decode_image(contents), decode_image(encoded(gradient(20, 31))))


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"notes",
        b"GIF89a",
        b"BM",
        b"RIFF",
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(20),
        save(palette_picture(), "GIF")[:40],
        save(palette_picture(), "PNG")[:60],
        save(palette_picture(), "BMP")[:120],
        save(palette_picture().convert("RGB"), "WEBP")[:40],
        encoded(gradient(40, 60))[:300],
    ],
)
def test_what_cannot_be_decoded_is_an_error(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(contents)


def test_compressed_bmps_are_errors():
    contents = bytearray(save(palette_picture(), "BMP"))
    contents[30] = 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="a BMP that is damaged, compressed"):
        decode_image(bytes(contents))


@pytest.mark.parametrize("missing", [12, 5 * 12, 9 * 12])
def test_bmps_without_their_last_rows_are_errors(missing):
    contents = save(Image.fromarray(np.zeros((10, 4, 3), "uint8")), "BMP")
    assert decode_image(contents).shape == (10, 4, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(contents[:-missing])
