"""Decoding of images to upright RGB pixels, in TensorFlow graphs."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ccp_dml.data.byte_strings import separate_function
from ccp_dml.data.exif import (
    locate_stored,
    read_jpeg_orientation,
    read_png_orientation,
    read_webp_orientation,
    turn,
    turn_shape,
)
from ccp_dml.data.rgba_decoders import decode_bmp, decode_gif, decode_png, decode_webp

Color = tuple[int, int, int]
"""Red, green and blue, 0…255."""

WHITE: Color = (255, 255, 255)

_JPEG_RATIOS = (1, 2, 4, 8)
# So large that no fraction of the resolution would be enough.
_FULL = tf.int32.max // max(_JPEG_RATIOS)
_PNG = b"\x89PNG"
_SIGNATURES = (b"GIF8", b"BM", b"RIFF")


class Region(NamedTuple):
    """A part of a stored image, which may have to be rotated; see `ccp_dml.data.exif`.

    Attributes:
        pixels: uint8 `(h, w, 3)`.
        box: The requested box: top, left, height and width in the stored image, int32 `(4,)`;
            `pixels` are the part of it inside the image.
        origin: Position of the corner of `pixels` in the stored image, int32 `(2,)`.
        ratio: Number of pixels of the stored image, along each side, per pixel of `pixels`, an
            int32 scalar.
        shape: Height and width of the stored image, int32 `(2,)`.
        orientation: How the image is stored, an int32 scalar 1…8.
    """

    pixels: tf.Tensor
    box: tf.Tensor
    origin: tf.Tensor
    ratio: tf.Tensor
    shape: tf.Tensor
    orientation: tf.Tensor


def decode_image(contents: tf.Tensor, background: Color = WHITE, size: int = _FULL) -> tf.Tensor:
    """Decodes an image, rotates it according to its EXIF data, and makes it opaque.

    - JPEG: grey, RGB, and CMYK and YCCK as Adobe's programs store them, inverted. CMYK from other
      programs, without Adobe's marker, comes out with wrong colours.
    - PNG: any kind; of 16 bits the upper 8 are used.
    - GIF: the first frame. The rest of the canvas is transparent.
    - BMP: palettes, 24 and 32 bits, not compressed; 32 bits are transparent only if the header says
      so. Others are errors.
    - WebP: the first frame of an animation.

    Args:
        contents: The encoded image, a string scalar.
        background: What is behind transparent pixels. Defaults to white.
        size: Sufficient number of pixels along each side: a JPEG is decoded at a fraction of its
            resolution if that is enough. Defaults to its whole resolution.

    Returns:
        uint8 `(height, width, 3)`: red, green and blue.

    Raises:
        tf.errors.InvalidArgumentError: If it is damaged or of another format.
    """

    def whole(shape):
        return tf.concat([[0, 0], shape], axis=0)

    region = decode_region(contents, whole, size, background)
    return turn(region.pixels, region.orientation)


def decode_region(
    contents: tf.Tensor,
    box_of: Callable[[tf.Tensor], tf.Tensor],
    size: int,
    background: Color = WHITE,
    portable: bool = True,
) -> Region:
    """Decodes a box of an image.

    Only the box of a JPEG is decoded, at a fraction of its resolution if that is enough, which is
    faster and averages what a bilinear resizing to `size` would skip.

    Args:
        contents: The encoded image, a string scalar; see `decode_image`.
        box_of: Function from height and width of the upright image, int32 `(2,)`, to top, left,
            height and width of the box, int32 `(4,)`. Parts outside the image are not decoded.
        size: Sufficient number of pixels along each side.
        background: What is behind transparent pixels. Defaults to white.
        portable: Whether the graph can be used outside this process. If not, it calls Python for a
            GIF, BMP or WebP, which halves the start-up time of a pipeline: TensorFlow optimises all
            functions that a graph can call whenever an iterator is created. Defaults to `True`.

    Returns:
        The box.

    Raises:
        tf.errors.InvalidArgumentError: If the image is damaged or of another format.
    """
    # Outside a graph, calling Python saves nothing, and waits forever if TensorFlow has only one
    # thread.
    decode_other = _decode_other if portable or tf.executing_eagerly() else _decode_other_in_python
    # The graph of the box is larger than both branches: it is built once, between them.
    is_jpeg = tf.io.is_jpeg(contents)
    shape, orientation, image = tf.cond(
        is_jpeg,
        lambda: _read_jpeg_header(contents),
        lambda: decode_other(contents),
    )
    upright = turn_shape(shape, orientation)
    box = locate_stored(box_of(upright), upright, orientation)
    corner, sides = tf.split(box, 2)
    # At least one pixel, which decoders need.
    first = tf.clip_by_value(corner, 0, shape - 1)
    last = tf.clip_by_value(corner + sides, first + 1, shape)

    def crop_jpeg():
        enough = tf.reduce_min(last - first) >= size * np.array(_JPEG_RATIOS[1:])
        choice = tf.reduce_sum(tf.cast(enough, tf.int32))
        ratio = tf.gather(_JPEG_RATIOS, choice)
        origin = first // ratio
        window = tf.concat([origin, last // ratio - origin], axis=0)

        # As little as possible, because operations of branches that are not taken cost time too.
        def decode(ratio):
            return tf.raw_ops.DecodeAndCropJpeg(
                contents=contents, crop_window=window, channels=3, ratio=ratio
            )

        branches = [functools.partial(decode, ratio) for ratio in _JPEG_RATIOS]
        return tf.switch_case(choice, branches), origin * ratio, ratio

    def crop_other():
        return _crop_pixels(image, first, last, background), first, tf.constant(1)

    pixels, origin, ratio = tf.cond(is_jpeg, crop_jpeg, crop_other)
    return Region(pixels, box, origin, ratio, shape, orientation)


def composite(pixels: tf.Tensor, background: Color) -> tf.Tensor:
    """Puts pixels in front of a background.

    Args:
        pixels: Red, green, blue and alpha in 0…255, `(..., 4)`.
        background: The colour.

    Returns:
        uint8 `(..., 3)`, rounded.

    Example:

    >>> composite(np.array([10, 20, 30, 0, 10, 20, 30, 51]).reshape(2, 4), (255, 255, 255)).numpy()
    array([[255, 255, 255],
           [206, 208, 210]], dtype=uint8)
    """
    pixels = tf.cast(pixels, tf.float32)
    alpha = pixels[..., 3:]
    # Whole numbers, up to the division.
    blended = pixels[..., :3] * alpha + tf.cast(background, tf.float32) * (255 - alpha)
    return tf.saturate_cast(tf.round(blended / 255), tf.uint8)


@separate_function(
    tf.TensorSpec((None, None, 4), tf.uint8),
    tf.TensorSpec((2,), tf.int32),
    tf.TensorSpec((2,), tf.int32),
    tf.TensorSpec((3,), tf.int32),
)
def _crop_pixels(image, first, last, background):
    """Returns the decoded pixels between two corners, in front of a background."""
    return composite(image[first[0] : last[0], first[1] : last[1]], background)


def _read_jpeg_header(contents):
    """Reads height, width and orientation of a JPEG, but no pixels."""
    shape = tf.image.extract_jpeg_shape(contents)[:2]
    return shape, read_jpeg_orientation(contents), tf.zeros((0, 0, 4), tf.uint8)


@separate_function()
def _decode_other(contents):
    """Does the same for another image, with its pixels, uint8 `(height, width, 4)`."""
    return _decode_png_or(_decode_rare, contents)


@separate_function()
def _decode_other_in_python(contents):
    """Does the same with a graph that calls Python for images other than PNGs."""
    return _decode_png_or(_call_decode_rare, contents)


def _decode_png_or(decode_rare, contents):
    image, orientation = tf.cond(
        tf.strings.substr(contents, 0, len(_PNG)) == _PNG,
        lambda: (decode_png(contents), read_png_orientation(contents)),
        lambda: decode_rare(contents),
    )
    return tf.shape(image)[:2], orientation, image


def _call_decode_rare(contents):
    def decode(contents):
        try:
            with tf.device("CPU"):
                image, orientation = _decode_rare(contents)
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow turns a ValueError into an InvalidArgumentError, but would turn this one
            # into an UnknownError.
            raise ValueError(error.message) from error
        return image.numpy(), orientation.numpy()

    image, orientation = tf.numpy_function(decode, [contents], [tf.uint8, tf.int32], stateful=False)
    return tf.ensure_shape(image, (None, None, 4)), tf.ensure_shape(orientation, ())


@separate_function()
def _decode_rare(contents):
    """Decodes a GIF, BMP or WebP to stored pixels, uint8 `(height, width, 4)`, and orientation."""
    begins_with = [tf.strings.substr(contents, 0, len(each)) == each for each in _SIGNATURES]
    upright = tf.constant(1)
    check = tf.debugging.Assert(tf.reduce_any(begins_with), ["no image of a known format"])
    with tf.control_dependencies([check]):
        kind = tf.argmax(tf.stack(begins_with), output_type=tf.int32)
    decoders = [
        lambda: (decode_gif(contents), upright),
        lambda: (decode_bmp(contents), upright),
        lambda: (decode_webp(contents), read_webp_orientation(contents)),
    ]
    return tf.switch_case(kind, decoders)
