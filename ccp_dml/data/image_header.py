"""The header of an encoded image, read without decoding the image."""

import struct
from typing import NamedTuple

IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib")
"""Suffixes of files in these formats, in lower or upper case."""

MAX_PIXELS = 50_000_000
"""Pixels of the largest image that is decoded, unless another number is given."""

# Markers of a JPEG without a length: TEM, RST0 to RST7 and SOI.
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}
# Start of frame; C4, C8 and CC are other things.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_GIF_EXTENSION = 0x21
# Of a BMP; the second with masks of the colours.
_UNCOMPRESSED = (0, 3)


class ImageHeader(NamedTuple):
    """The header of an encoded image.

    Attributes:
        format: One of `IMAGE_FORMATS`.
        width: Stored width in pixels, before any rotation according to EXIF data.
        height: Height, likewise.
    """

    format: str
    width: int
    height: int


def read_header(contents: bytes) -> ImageHeader:
    """Reads the header of an encoded image; nothing is decoded.

    Pillow reads headers as well, but refuses large images, with a limit that is global to the
    process.

    Args:
        contents: An encoded image, whose end may be missing.

    Returns:
        The header. A valid header does not mean that the image can be decoded.

    Raises:
        ValueError: If this is not one of `IMAGE_FORMATS`, or its header is damaged.

    Example:

    >>> read_header(b"BM" + bytes(12) + bytes([40, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0]))
    ImageHeader(format='BMP', width=3, height=2)
    """
    image_format = identify_format(contents)
    try:
        width, height = _READERS[image_format](contents)
    except (struct.error, IndexError) as error:
        raise ValueError("is damaged") from error
    if width < 1 or height < 1:
        raise ValueError("is damaged")
    return ImageHeader(image_format, width, height)


def identify_format(contents: bytes) -> str:
    """Identifies the format of an image by its first bytes.

    Args:
        contents: An encoded image; 16 bytes of it are enough.

    Returns:
        One of `IMAGE_FORMATS`.

    Raises:
        ValueError: If it is none of them.

    Example:

    >>> identify_format(b"GIF89a")
    'GIF'
    """
    if contents.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if contents.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if contents.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if contents.startswith(b"BM"):
        return "BMP"
    if contents.startswith(b"RIFF") and contents[8:12] == b"WEBP":
        return "WEBP"
    raise ValueError(f"is not in one of the formats {', '.join(IMAGE_FORMATS)}")


def check_pixels(header: ImageHeader, max_pixels: int = MAX_PIXELS):
    """Checks that an image is not too large to be decoded.

    Args:
        header: Its header.
        max_pixels: The largest number of pixels allowed. Defaults to `MAX_PIXELS`, 50 million.

    Raises:
        ValueError: If it has more.

    Example:

    >>> check_pixels(ImageHeader("PNG", 20_000, 20_000))
    Traceback (most recent call last):
    ...
    ValueError: has 20000 x 20000 pixels, more than max_pixels, 50000000
    """
    if header.width * header.height > max_pixels:
        raise ValueError(
            f"has {header.width} x {header.height} pixels, more than max_pixels, {max_pixels}"
        )


def explain_damage(contents: bytes) -> str:
    """Says what is wrong with an image that has a valid header but cannot be decoded.

    Args:
        contents: The encoded image.

    Example:

    >>> explain_damage(b"GIF89a")
    'is damaged'
    """
    if identify_format(contents) == "BMP":
        header_size, _, bits, compression = struct.unpack(
            "<I10sHI", contents[14:34].ljust(20, b"\0")
        )
        if header_size < 40 or bits == 16 or compression not in _UNCOMPRESSED:
            return "is a BMP that is compressed, of 16 bits or of OS/2"
    return "is damaged"


def _read_jpeg(contents):
    position = 2
    while True:
        # Bytes between segments are skipped, as libjpeg does.
        position = contents.find(b"\xff", position)
        if position < 0:
            raise IndexError
        marker = contents[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0 or marker in _JPEG_BARE:
            position += 2
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", contents, position + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", contents, position + 2)
            position += 2 + length


def _read_png(contents):
    return struct.unpack_from(">II", contents, 16)


def _read_gif(contents):
    width, height, packed = struct.unpack_from("<HHB", contents, 6)
    position = 13 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
    while contents[position] == _GIF_EXTENSION:
        position += 2
        while contents[position]:
            position += 1 + contents[position]
        position += 1
    # The canvas is at least as large as the first frame.
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", contents, position + 1)
    return max(width, left + frame_width), max(height, top + frame_height)


def _read_bmp(contents):
    (header_size,) = struct.unpack_from("<I", contents, 14)
    if header_size == 12:
        return struct.unpack_from("<HH", contents, 18)
    width, height = struct.unpack_from("<ii", contents, 18)
    # A negative height means rows from top to bottom.
    return width, abs(height)


def _read_webp(contents):
    kind = contents[12:16]
    if kind == b"VP8X":
        (width,) = struct.unpack("<I", contents[24:27] + b"\0")
        (height,) = struct.unpack("<I", contents[27:30] + b"\0")
        return width + 1, height + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", contents, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", contents, 26)
    # The upper two bits are for enlarging.
    return width & 0x3FFF, height & 0x3FFF


_READERS = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "GIF": _read_gif,
    "BMP": _read_bmp,
    "WEBP": _read_webp,
}
