"""The orientation of an image according to its EXIF data, in TensorFlow graphs."""

import numpy as np
import tensorflow as tf

from ccp_dml.data.byte_strings import (
    Segment,
    are_bytes,
    big_endian,
    find_riff_chunk,
    find_segment,
    read_bytes,
    separate_function,
)

# More than cameras and programs write.
_MAX_ENTRIES = 128
_NAME = b"Exif\0\0"
_TABLES = b"\xff\xdb"
_JFIF = b"\xff\xe0\0\x10"
_PIXELS = b"IDAT"
_TAG = 0x0112
_SHORT = 3


def read_jpeg_orientation(contents: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of a JPEG from its EXIF data.

    Args:
        contents: The encoded image, a string scalar.

    Returns:
        int32 scalar 1…8, the values of EXIF, see `turn`; 1, as stored, if there are no EXIF data,
        they do not contain it, or they are malformed.
    """
    # As in most files: the tables of pixels follow at once, or after a JFIF segment of 16 bytes.
    is_plain = (tf.strings.substr(contents, 2, 2) == _TABLES) | (
        (tf.strings.substr(contents, 2, 4) == _JFIF)
        & (tf.strings.substr(contents, 20, 2) == _TABLES)
    )
    return tf.cond(is_plain, lambda: 1, lambda: _search_jpeg(contents))


@separate_function()
def _search_jpeg(contents):
    def read_segment(position):
        head = read_bytes(contents, position, 10)
        marker, length = head[1], 256 * head[2] + head[3]
        # APP0 to APP15 and comments; other segments concern the pixels.
        is_metadata = (head[0] == 0xFF) & ((marker // 16 == 0xE) | (marker == 0xFE))
        is_exif = (marker == 0xE1) & are_bytes(head[4:], _NAME)
        return Segment(is_metadata, is_exif, position + 10, length - 8, position + 2 + length)

    return _read_orientation(contents, *find_segment(2, read_segment))


def read_png_orientation(contents: tf.Tensor) -> tf.Tensor:
    """Does the same for a PNG, whose EXIF data are searched for before its pixels."""
    # In many files the pixels follow the header at once.
    is_plain = tf.strings.substr(contents, 37, 4) == _PIXELS
    return tf.cond(is_plain, lambda: 1, lambda: _search_png(contents))


@separate_function()
def _search_png(contents):
    def read_chunk(position):
        head = read_bytes(contents, position, 8)
        length = big_endian(head[:4])
        is_before = (length >= 0) & (position < size) & ~are_bytes(head[4:], _PIXELS)
        is_exif = are_bytes(head[4:], b"eXIf")
        return Segment(is_before, is_exif, position + 8, length, position + 12 + length)

    size = tf.strings.length(contents)
    return _read_orientation(contents, *find_segment(8, read_chunk))


def read_webp_orientation(contents: tf.Tensor) -> tf.Tensor:
    """Does the same for a WebP."""
    return _read_orientation(contents, *find_riff_chunk(contents, b"EXIF"))


def turn(image: tf.Tensor, orientation: tf.Tensor, mirror: tf.Tensor | bool = False) -> tf.Tensor:
    """Rotates an image upright.

    Args:
        image: `(height, width, channels)`.
        orientation: How it is stored, an int32 scalar 1…8: 1, upright; 2, mirrored left and right;
            3, rotated by 180°; 4, mirrored top and bottom; 5…8, the same with rows and columns
            exchanged: 5, only that; 6, to be rotated clockwise by 90°; 7, mirrored at the other
            diagonal; 8, to be rotated anticlockwise.
        mirror: Whether the upright image is mirrored left and right as well, a boolean scalar.
            Defaults to `False`.

    Returns:
        The upright image, `(width, height, channels)` for 5…8.
    """
    transposed, rows, columns = _list_turns(orientation)
    # Unlike `tf.cond` this adds no branch for every image, and upright images are not transposed.
    image = tf.transpose(image, tf.where(transposed, [1, 0, 2], [0, 1, 2]))
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([rows, columns ^ mirror, False]))


def turn_shape(shape: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns height and width of the upright image, int32 `(2,)`, from those of the stored one."""
    return tf.where(orientation >= 5, tf.reverse(shape, [0]), shape)


def locate_stored(box: tf.Tensor, shape: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Finds the part of a stored image that corresponds to a box of the upright image.

    Args:
        box: Top, left, height and width in the upright image, int32 `(4,)`.
        shape: Height and width of the upright image, int32 `(2,)`.
        orientation: How it is stored, an int32 scalar 1…8.

    Returns:
        Top, left, height and width in the stored image.
    """
    transposed, rows, columns = _list_turns(orientation)
    corner, sides = tf.split(box, 2)
    corner = tf.where(tf.stack([rows, columns]), shape - corner - sides, corner)
    box = tf.concat([corner, sides], axis=0)
    return tf.where(transposed, tf.gather(box, [1, 0, 3, 2]), box)


def _list_turns(orientation):
    """Returns whether rows become columns and then whether rows and columns are reversed."""
    rows = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8]))
    columns = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7]))
    return orientation >= 5, rows, columns


def _read_orientation(contents, start, length):
    """Reads the orientation from EXIF data at a place in a file, if there are any."""
    size = tf.strings.length(contents)
    return tf.cond(
        length > 0,
        lambda: _parse(tf.strings.substr(contents, tf.minimum(start, size), length)),
        lambda: 1,
    )


@separate_function()
def _parse(exif):
    """Parses the orientation from EXIF data: a TIFF header and its first directory."""
    size = tf.strings.length(exif)
    # PNG and WebP contain them with or without the prefix that they have in a JPEG.
    named = are_bytes(read_bytes(exif, 0, len(_NAME)), _NAME)
    exif = tf.strings.substr(exif, tf.where(named, tf.minimum(len(_NAME), size), 0), size)
    order = tf.strings.substr(exif, 0, 4)
    is_little = order == b"II*\0"

    def numbers(values, *sizes):
        """Reads consecutive numbers of the given sizes, in bytes, from each row."""
        little = np.zeros((values.shape[-1], len(sizes)), "int32")
        big = np.zeros_like(little)
        for column, size in enumerate(sizes):
            own = slice(sum(sizes[:column]), sum(sizes[: column + 1]))
            little[own, column] = 256 ** np.arange(size)
            big[own, column] = little[own, column][::-1]
        return values @ tf.where(is_little, little, big)

    directory = numbers(read_bytes(exif, 4, 4)[tf.newaxis], 4)[0, 0]
    is_valid = (is_little | (order == b"MM\0*")) & (directory >= 0) & (directory < size)
    directory = tf.where(is_valid, directory, 0)
    count = numbers(read_bytes(exif, directory, 2)[tf.newaxis], 2)[0, 0]
    entries = tf.reshape(read_bytes(exif, directory + 2, 12 * _MAX_ENTRIES), [_MAX_ENTRIES, 12])
    tags, types, counts, values = tf.unstack(numbers(entries, 2, 2, 4, 2), axis=1)
    is_stated = (tags == _TAG) & (types == _SHORT) & (counts == 1)
    is_stated &= is_valid & (np.arange(_MAX_ENTRIES) < count)
    # The value of the first such entry, if there is one.
    orientation = tf.reduce_sum(
        values * tf.one_hot(tf.argmax(is_stated), _MAX_ENTRIES, dtype=tf.int32)
    )
    is_known = tf.reduce_any(is_stated) & (orientation >= 1) & (orientation <= 8)
    return tf.where(is_known, orientation, 1)
