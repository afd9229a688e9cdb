"""Decoders of images with transparency, in TensorFlow graphs.

TensorFlow's own decoders are used where they are correct. They ignore the transparency of a GIF,
the palette of a BMP and the position of a frame on its canvas; they make grey PNGs of fewer than 8
bits nearly transparent; and with an opaque animated WebP they write outside their memory.
"""

import tensorflow as tf

from ccp_dml.data.byte_strings import (
    are_bytes,
    find_riff_chunk,
    little_endian_fields,
    read_bytes,
    to_little_endian,
)

# Bounds for malicious files: 255 bytes each are 50 MB.
_MAX_BLOCKS = 200_000
_GREY = 0
_EXTENSION, _IMAGE = 0x21, 0x2C
_WHITE_TABLE = b"\xff" * 768
_NOT_COMPRESSED, _BIT_FIELDS = 0, 3
_BGR_MASKS = b"\0\0\xff\0\0\xff\0\0\xff\0\0\0"
_ALPHA_MASK = b"\0\0\0\xff"
_ANIMATED, _WITH_ALPHA = 2, b"\x10\0\0\0"


def decode_png(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG of any kind; of 16 bits the upper 8 are used.

    Args:
        contents: The encoded image, a string scalar.

    Returns:
        uint8 `(height, width, 4)`: red, green, blue and alpha.

    Raises:
        tf.errors.InvalidArgumentError: If it is damaged or not a PNG.
    """
    pixels = tf.io.decode_png(contents, channels=4)
    depth, color_type = tf.unstack(read_bytes(contents, 24, 2))
    # In grey images of fewer than 8 bits, TensorFlow decodes the alpha of opaque pixels to the
    # largest number of so many bits instead of 255.
    opaque = tf.where((color_type == _GREY) & (depth < 8), 2**depth - 1, 255)
    alpha = pixels[..., 3:]
    alpha = tf.where(alpha == tf.cast(opaque, tf.uint8), tf.constant(255, tf.uint8), alpha)
    return tf.concat([pixels[..., :3], alpha], axis=-1)


def decode_gif(contents: tf.Tensor) -> tf.Tensor:
    """Decodes the first frame of a GIF; the rest of the canvas is transparent.

    See `decode_png`. Other frames are not decoded.
    """
    screen = read_bytes(contents, 0, 13)
    height, width, flags = little_endian_fields(screen, (8, 2), (6, 2), (10, 1))
    table_size = _color_table_size(flags)
    extensions = 13 + table_size
    start = _skip_extensions(contents, extensions)
    descriptor = read_bytes(contents, start, 10)
    kind, top, left, own_flags = little_endian_fields(descriptor, (0, 1), (3, 2), (1, 2), (9, 1))
    check = tf.debugging.Assert(kind == _IMAGE, ["a GIF without an image"])
    with tf.control_dependencies([check]):
        own_table_size = _color_table_size(own_flags)
    own_table = start + 10
    data = own_table + own_table_size
    end = _skip_blocks(contents, data + 1)
    # Only the parts of the frame, with color tables between them.
    parts = tf.strings.substr(
        contents,
        tf.stack([0, extensions, start + 5, data]),
        tf.stack([13, start - extensions, 5, end - data]),
    )
    head, extension, size, pixels = tf.unstack(parts)
    # In the corner, because TensorFlow crops frames elsewhere.
    size = tf.strings.join([extension, b",\0\0\0\0", size])

    def decode(tables, places):
        table, own = tf.unstack(
            tf.strings.substr(tables, places, tf.stack([table_size, own_table_size]))
        )
        return tf.io.decode_gif(tf.strings.join([head, table, size, own, pixels, b";"]))[0]

    colors = decode(contents, tf.stack([13, own_table]))
    # Transparent pixels are decoded as black, whatever the colours are.
    white = decode(_WHITE_TABLE, [0, 0])
    return _place(
        tf.concat([colors, white[..., :1]], axis=-1), tf.stack([top, left]), [height, width]
    )


def decode_bmp(contents: tf.Tensor) -> tf.Tensor:
    """Decodes an uncompressed BMP of 1, 4, 8, 24 or 32 bits.

    See `decode_png`. Of 32 bits, the fourth byte is alpha only if the header says so.
    """
    head = read_bytes(contents, 0, 70)
    # A negative height means rows from top to bottom.
    start, header_size, width, height, bits, compression = little_endian_fields(
        head, (10, 4), (14, 4), (18, 4), (22, 4), (28, 2), (30, 4)
    )
    has_masks = (bits == 32) & (compression == _BIT_FIELDS)
    is_known = (
        (header_size >= 40)
        & (width > 0)
        & (height != 0)
        & tf.reduce_any(bits == [1, 4, 8, 24, 32])
        & ((compression == _NOT_COMPRESSED) | (has_masks & are_bytes(head[54:66], _BGR_MASKS)))
    )
    check = tf.debugging.Assert(is_known, ["a BMP that is damaged, compressed or of 16 bits"])
    with tf.control_dependencies([check]):
        width = tf.cast(width, tf.int64)
    stride = (width * tf.cast(bits, tf.int64) + 31) // 32 * 4
    num_rows = tf.cast(tf.abs(height), tf.int64)
    pixels = tf.strings.substr(contents, tf.cast(start, tf.int64), stride * num_rows)
    # This fails if pixels are missing.
    rows = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [num_rows, stride])
    rows = tf.ensure_shape(rows, (None, None))
    rows = tf.cond(height > 0, lambda: rows[::-1], lambda: rows)

    def look_up_colors():
        palette = read_bytes(contents, 14 + header_size, 1024)
        palette = tf.cast(tf.reshape(palette, [256, 4])[:, 2::-1], tf.uint8)
        shifts = tf.range(8 - bits, -1, -bits)
        indices = tf.cast(rows, tf.int32)[..., tf.newaxis] // 2**shifts % 2**bits
        indices = tf.reshape(indices, [tf.shape(rows)[0], -1])[:, :width]
        return _add_alpha(tf.gather(palette, indices))

    def split():
        channels = tf.cast(bits // 8, tf.int64)
        pixels = tf.reshape(rows[:, : width * channels], [-1, width, channels])
        has_alpha = has_masks & (header_size >= 56) & are_bytes(head[66:70], _ALPHA_MASK)
        return tf.cond(
            has_alpha,
            lambda: tf.gather(pixels, [2, 1, 0, 3], axis=-1),
            lambda: _add_alpha(pixels[..., 2::-1]),
        )

    return tf.cond(bits <= 8, look_up_colors, split)


def decode_webp(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a WebP, or the first frame of an animation. See `decode_png`."""
    head = read_bytes(contents, 0, 30)
    is_extended = are_bytes(head[12:16], b"VP8X")
    is_animated = is_extended & (head[20] & _ANIMATED > 0)

    def decode(image):
        return _add_alpha(tf.raw_ops.DecodeWebP(contents=image)[0])

    def decode_first_frame():
        start, length = find_riff_chunk(contents, b"ANMF")
        frame = read_bytes(contents, start, 6)
        extended_header = [b"VP8X", to_little_endian(10), _WITH_ALPHA]
        parts = [
            b"WEBP",
            *extended_header,
            tf.strings.substr(contents, start + 6, 6),
            tf.strings.substr(contents, start + 16, length - 16),
        ]
        image = tf.strings.join(parts)
        still = tf.strings.join([b"RIFF", to_little_endian(tf.strings.length(image)), image])
        corner = tf.stack(little_endian_fields(frame, (3, 3), (0, 3))) * 2
        canvas = tf.stack(little_endian_fields(head, (27, 3), (24, 3))) + 1
        return _place(decode(still), corner, canvas)

    return tf.cond(is_animated, decode_first_frame, lambda: decode(contents))


def _add_alpha(pixels):
    """Adds an alpha of 255 to pixels that have none."""
    pixels = tf.ensure_shape(pixels, (None, None, None))
    missing = [[0, 0], [0, 0], [0, 4 - tf.shape(pixels)[-1]]]
    return tf.ensure_shape(tf.pad(pixels, missing, constant_values=255), (None, None, 4))


def _place(frame, corner, canvas):
    """Puts a frame on its transparent canvas, enlarged if necessary."""
    shape = tf.shape(frame)[:2]
    after = tf.maximum(canvas - corner - shape, 0)
    paddings = tf.stack([corner, after], axis=1)
    return tf.pad(frame, tf.concat([paddings, [[0, 0]]], axis=0))


def _color_table_size(packed):
    """Returns the number of bytes of the color table according to a byte of flags."""
    sizes = [3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0 for flags in range(256)]
    return tf.gather(sizes, packed)


def _skip_extensions(contents, start):
    def is_extension(position):
        return read_bytes(contents, position, 1)[0] == _EXTENSION

    return tf.while_loop(
        is_extension,
        lambda position: (_skip_blocks(contents, position + 2),),
        (start,),
        maximum_iterations=_MAX_BLOCKS,
    )[0]


def _skip_blocks(contents, start):
    """Finds the end of blocks that begin with their length, the last of which is empty."""
    data = tf.io.decode_raw(contents, tf.uint8)
    size = tf.strings.length(contents)

    def has_block(position):
        return tf.cond(position < size, lambda: data[position] > 0, lambda: False)

    (end,) = tf.while_loop(
        has_block,
        lambda position: (position + 1 + tf.cast(data[position], tf.int32),),
        (start,),
        maximum_iterations=_MAX_BLOCKS,
    )
    return end + 1
