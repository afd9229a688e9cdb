"""Preprocessing of encoded images to inputs of a network: crops, padding, resizing."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import ImageColor

from ccp_dml.checks import check_one_of, check_whole_number
from ccp_dml.data.decoding import Color, decode_region
from ccp_dml.data.exif import turn
from ccp_dml.data.value_scaling import SCALINGS

_GREY_SCALINGS = ("unit", "symmetric", "raw")
CROPS = ("area", "side")
"""How the random boxes of training images are drawn: by their area or by their side."""
FITS = ("crop", "pad")
"""How an image becomes a square: by cropping the longer side, or by padding."""
_ATTEMPTS = 10
_ASPECT_RATIOS = (0.75, 1.33)
_SIDES = (40 / 256, 1.0)
# Of red, green and blue.
_LUMINANCE = np.array([0.299, 0.587, 0.114], "float32")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How image files are turned into inputs of a network.

    Attributes:
        image_size: Height and width of the inputs, in pixels. Defaults to 227.
        resize_size: Size of the shorter side after resizing for evaluation, before the centre crop.
            Defaults to `None`: 256 / 227 of `image_size`.
        crop: The random crop of training; both kinds are from the CCP paper. `"area"` (default), as
            its code does: a box of 16–100 % of the image's area with an aspect ratio of 0.75–1.33.
            `"side"`, as its text says: a square whose side is 40–256 when the shorter side of the
            image is 256.
        scaling: The values of the inputs; see `ccp_dml.data.value_scaling.rescale`. Defaults to
            `"unit"`.
        background: The colour behind transparent pixels, and of the padding: a name or `#rrggbb`.
            Defaults to `"white"`.
        fit: How to handle images that are not square. `"crop"` (default): training sees boxes of
            the image, evaluation its centre. `"pad"`: images are first padded with `background` to
            a square; training sees boxes of that square, evaluation the whole square, and
            `resize_size` is not used.
        crop_area: Bounds of the relative area of the box for `"area"`. Defaults to `(0.16, 1.0)`.
        flip: Whether training mirrors half of the images, chosen at random, left and right.
            Defaults to `True`.
        channels: Channels of the inputs: 3 (default), or 1 for the luminance.

    Raises:
        ValueError: If a size is not a positive whole number, `resize_size` is less than
            `image_size`, a name or colour is unknown, `crop_area` is not two increasing numbers
            above 0 up to 1, or `scaling` is not for grey images.
    """

    image_size: int = 227
    resize_size: int | None = None
    crop: str = "area"
    scaling: str = "unit"
    background: str = "white"
    fit: str = "crop"
    crop_area: tuple[float, float] = (0.16, 1.0)
    flip: bool = True
    channels: int = 3

    def __post_init__(self):
        check_whole_number("image_size", self.image_size, 1)
        size = self.resize_size
        if size is not None and (size < self.image_size or size % 1):
            raise ValueError(
                f"resize_size must be a whole number of at least image_size, {self.image_size}; "
                f"got {size}"
            )
        check_one_of("crop", self.crop, CROPS)
        check_one_of("scaling", self.scaling, SCALINGS)
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {self.channels!r}")
        if self.channels == 1:
            check_one_of("scaling of grey images", self.scaling, _GREY_SCALINGS)
        check_one_of("fit", self.fit, FITS)
        check_crop_area(self.crop_area)
        parse_color("background", self.background)

    @property
    def shorter_side(self) -> int:
        """Size of the shorter side after resizing for evaluation."""
        return self.resize_size or round(self.image_size * 256 / 227)

    @property
    def background_color(self) -> Color:
        """Red, green and blue of the background, 0…255."""
        return parse_color("background", self.background)


def parse_color(name: str, color: str) -> Color:
    """Reads a colour.

    Args:
        name: Name of the argument, for the message.
        color: An HTML colour name or `#rrggbb`; anything that `PIL.ImageColor` reads.

    Returns:
        Red, green and blue, 0…255.

    Raises:
        ValueError: If it is not a colour, or is transparent.

    Example:

    >>> parse_color("background", "#ff8000")
    (255, 128, 0)
    """
    try:
        channels = ImageColor.getrgb(color)
    except (ValueError, AttributeError):
        channels = ()
    if len(channels) != 3:
        raise ValueError(
            f"{name} must be the name of a colour, such as white, or #rrggbb; got {color!r}"
        )
    return channels


def check_crop_area(crop_area: tuple[float, float]):
    """Checks the bounds of the area of a random box.

    Raises:
        ValueError: If they are not two increasing numbers above 0 up to 1.
    """
    if len(crop_area) != 2 or not 0 < crop_area[0] <= crop_area[1] <= 1:
        raise ValueError(
            "crop_area must be two numbers above 0 up to 1, the smaller first; got "
            f"{','.join(map(str, crop_area))}"
        )


def training_image(
    contents: tf.Tensor, seed: tf.Tensor, preprocessing: Preprocessing, mirrored: bool = False
) -> tf.Tensor:
    """Cuts a random box out of an image, resizes it bilinearly and flips it with probability ½.

    For a JPEG, only the box is decoded, at a half, a quarter or an eighth of the resolution if that
    is enough. The box is drawn in the upright image.

    Args:
        contents: An encoded image, a string scalar; see `ccp_dml.data.decoding.decode_image`.
        seed: Stateless seed `(2,)` that determines the box and the flip.
        preprocessing: Size and kind of the crop, padding, background, and whether there are flips.
        mirrored: Whether to mirror the result left and right, which costs nothing here. Defaults to
            `False`.

    Returns:
        float32 `(image_size, image_size, channels)` in 0…255.
    """
    size, color = preprocessing.image_size, preprocessing.background_color

    def draw_box(shape):
        if preprocessing.crop == "side":
            return side_box(shape, seed)
        return area_box(shape, seed, preprocessing.crop_area)

    def draw_padded_box(shape):
        square = pad_to_square(shape)
        return draw_box(square[2:]) + tf.pad(square[:2], [[0, 2]])

    if preprocessing.fit == "pad":
        region = decode_region(contents, draw_padded_box, size, color, portable=False)
        image = _resize_padded(region.pixels[tf.newaxis], region, size, color, antialias=False)[0]
    else:
        region = decode_region(contents, draw_box, size, color, portable=False)
        image = tf.image.resize(region.pixels, (size, size))
    flip = mirrored
    if preprocessing.flip:
        # Not the seed of the box, which would give the same random numbers.
        flip ^= tf.random.stateless_uniform([], tf.reverse(seed, [0])) < 0.5
    upright = tf.ensure_shape(turn(image, region.orientation, mirror=flip), (size, size, 3))
    return to_channels(upright, preprocessing.channels)


def evaluation_image(
    contents: tf.Tensor, preprocessing: Preprocessing, portable: bool = True
) -> tf.Tensor:
    """Resizes an image so that its shorter side is `shorter_side`, and crops the centre.

    With padding, resizes the whole padded image instead. The resizing is bilinear and antialiased.
    For a JPEG, only the centre is decoded.

    Args:
        contents: An encoded image, a string scalar; see `ccp_dml.data.decoding.decode_image`.
        preprocessing: The sizes, padding and background.
        portable: Whether the graph can be used outside this process; see
            `ccp_dml.data.decoding.decode_region`. Defaults to `True`.

    Returns:
        uint8 `(image_size, image_size, channels)`.
    """
    size, color = preprocessing.image_size, preprocessing.background_color
    if preprocessing.fit == "pad":
        region = decode_region(contents, pad_to_square, size, color, portable)
        resized = _resize_padded(region.pixels[tf.newaxis], region, size, color, antialias=True)
    else:
        region = decode_region(
            contents, lambda shape: locate_center(shape, preprocessing).box, size, color, portable
        )
        # The centre stays where it is, however the image is turned.
        center = locate_center(region.shape, preprocessing)
        resized = _resize_center(
            region.pixels[tf.newaxis], region.origin, region.ratio, center, size
        )
    image = tf.saturate_cast(round_half_up(resized[0]), tf.uint8)
    upright = tf.cond(
        region.orientation > 1, lambda: turn(image, region.orientation), lambda: image
    )
    return to_channels(tf.ensure_shape(upright, (size, size, 3)), preprocessing.channels)


def crop_center(images: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Preprocesses pixels like `evaluation_image` does an encoded image.

    Args:
        images: A batch of images of one size, `(batch, height, width, 3 or 1)`, values in 0…255.
            Grey pixels are repeated for coloured inputs.
        preprocessing: The sizes, padding, background and channels.

    Returns:
        uint8 `(batch, image_size, image_size, channels)`.
    """
    size, shape = preprocessing.image_size, tf.shape(images)[1:3]
    if preprocessing.fit == "pad":
        color = preprocessing.background_color
        # A coloured background makes a grey image coloured.
        images = to_channels(images, 3)
        whole = _Padded(pad_to_square(shape), tf.constant([0, 0]), tf.constant(1), shape)
        resized = _resize_padded(images, whole, size, color, antialias=True)
    else:
        center = locate_center(shape, preprocessing)
        top, left, height, width = tf.unstack(center.box)
        region = images[:, top : top + height, left : left + width]
        resized = _resize_center(region, center.box[:2], tf.constant(1), center, size)
    crops = tf.saturate_cast(round_half_up(resized), tf.uint8)
    crops = tf.ensure_shape(crops, (images.shape[0], size, size, images.shape[3]))
    return to_channels(crops, preprocessing.channels)


def to_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts to 1 or 3 channels: repeats grey pixels, takes the luminance of coloured ones."""
    if images.shape[-1] < channels:
        return tf.repeat(images, channels, axis=-1)
    if images.shape[-1] > channels:
        grey = tf.tensordot(tf.cast(images, tf.float32), tf.constant(_LUMINANCE), 1)
        whole = images.dtype.is_integer
        return tf.cast(tf.round(grey) if whole else grey, images.dtype)[..., tf.newaxis]
    return images


def round_half_up(images: tf.Tensor) -> tf.Tensor:
    """Rounds resized values to whole ones, float32.

    Where a filter is symmetric between two pixels, values are halves up to rounding errors, which
    differ between devices and model formats. Halves, and values just below, are rounded up, so that
    these errors do not matter.

    Args:
        images: Values of any shape.
    """
    return tf.floor(images + (0.5 + 2**-10))


def area_box(
    shape: tf.Tensor, seed: tf.Tensor, area: tuple[float, float] = (0.16, 1.0)
) -> tf.Tensor:
    """Draws a box with 16–100 % of the area and an aspect ratio (width / height) of 0.75–1.33.

    It is drawn by TensorFlow's own sampler, which slightly prefers small boxes: for images of 4 : 3
    their mean area is 43 %. If ten attempts fail, the box is the whole image.

    Args:
        shape: Height and width of the image, int32 `(2,)`.
        seed: Stateless seed `(2,)`.
        area: Bounds of the relative area. Defaults to `(0.16, 1.0)`.

    Returns:
        int32 `(4,)`: top, left, height and width, at least 1 × 1 and inside the image.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], axis=0),
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=area,
        max_attempts=_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    # Both have three entries, the last of which is for the channels.
    return tf.gather(tf.concat([begin, size], axis=0), [0, 1, 3, 4])


def side_box(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws a square whose side is uniform in 40…256 when the shorter side of the image is 256.

    Args:
        shape: Height and width of the image, int32 `(2,)`.
        seed: Stateless seed `(2,)`.

    Returns:
        int32 `(4,)`: top, left, height and width, at least 1 × 1 and inside the image.
    """
    uniform = tf.random.stateless_uniform([3], seed)
    least, largest = _SIDES
    side = (least + (largest - least) * uniform[0]) * tf.cast(tf.reduce_min(shape), tf.float32)
    side = tf.maximum(tf.cast(tf.round(side), tf.int32), 1)
    free = tf.cast(shape - side + 1, tf.float32)
    # The product can be rounded up to `free`.
    corner = tf.minimum(tf.cast(uniform[1:] * free, tf.int32), shape - side)
    return tf.stack([corner[0], corner[1], side, side])


class Center(NamedTuple):
    """The part of an image that evaluation sees, in coordinates of the image.

    Attributes:
        side: Side of the square, a float32 scalar.
        corner: Top and left, float32 `(2,)`.
        box: The larger part that the resizing filter reads: top, left, height and width in whole
            pixels, int32 `(4,)`.
    """

    side: tf.Tensor
    corner: tf.Tensor
    box: tf.Tensor


def locate_center(shape: tf.Tensor, preprocessing: Preprocessing) -> Center:
    """Finds the part that evaluation sees of an image of the shape `(2,)` without padding."""
    size, shorter_side = preprocessing.image_size, preprocessing.shorter_side
    side = size / shorter_side * tf.cast(tf.reduce_min(shape), tf.float32)
    corner = (tf.cast(shape, tf.float32) - side) / 2
    margin = side / size + 1
    first = tf.maximum(tf.cast(tf.floor(corner - margin), tf.int32), 0)
    last = tf.minimum(tf.cast(tf.math.ceil(corner + side + margin), tf.int32), shape)
    return Center(side, corner, tf.concat([first, last - first], axis=0))


def _resize_center(regions, origin, ratio, center, size):
    """Resizes the centres of regions of images `(batch, h, w, channels)`, to float32.

    Args:
        regions: Parts of images around their centres.
        origin: Positions of their corners in the images.
        ratio: Number of pixels of an image, along each side, per pixel of its region.
        center: The centre.
        size: Height and width of the result.
    """
    scale = size / center.side
    return tf.raw_ops.ScaleAndTranslate(
        images=regions,
        size=(size, size),
        scale=tf.repeat(scale * tf.cast(ratio, tf.float32), 2),
        translation=(tf.cast(origin, tf.float32) - center.corner) * scale,
        kernel_type="triangle",
        antialias=True,
    )


class _Padded(NamedTuple):
    """The attributes of a `Region` that `_resize_padded` needs."""

    box: tf.Tensor
    origin: tf.Tensor
    ratio: tf.Tensor
    shape: tf.Tensor


def pad_to_square(shape: tf.Tensor) -> tf.Tensor:
    """Returns the square around an image: top, left, height and width, int32 `(4,)`."""
    side = tf.reduce_max(shape)
    return tf.concat([(shape - side) // 2, [side, side]], axis=0)


def _resize_padded(images, region, size, color, antialias):
    """Resizes boxes of padded images, given only the parts inside the images.

    Args:
        images: The part of the boxes inside the images, `(batch, h, w, channels)`.
        region: Positions of this part and of the box, a `Region` or `_Padded`.
        size: Height and width of the result.
        color: The padding, `channels` numbers.
        antialias: Whether the bilinear filter grows when the box is shrunk.

    Returns:
        float32 `(batch, size, size, channels)`.
    """
    ratio = tf.cast(region.ratio, tf.float32)
    corner, sides = (tf.cast(part, tf.float32) for part in (region.box[:2], region.box[2:]))
    origin = tf.cast(region.origin, tf.float32)
    scale = size / sides
    # Pixels outside become 0, which stands for the padding once its colour is subtracted.
    pixels = tf.cast(images, tf.float32) - tf.constant(color, tf.float32)
    end = region.box[:2] + region.box[2:]
    is_inside = tf.reduce_all((end > 0) & (region.box[:2] < region.shape))
    pixels = tf.where(is_inside, pixels, 0.0)
    # As much padding as the filter can combine with the image, and none beyond the box.
    reach = tf.math.ceil(2 * tf.maximum(1 / (scale * ratio), 1)) + 1
    last = origin + tf.cast(tf.shape(images)[1:3], tf.float32) * ratio
    before, after = (
        tf.cast(tf.clip_by_value(tf.math.ceil(gap / ratio), 0, reach), tf.int32)
        for gap in (origin - corner, corner + sides - last)
    )
    around = tf.stack([before, after], axis=1)
    pixels = tf.pad(pixels, tf.concat([[[0, 0]], around, [[0, 0]]], axis=0))
    origin -= tf.cast(before, tf.float32) * ratio
    resized = tf.raw_ops.ScaleAndTranslate(
        images=pixels,
        size=(size, size),
        scale=scale * ratio,
        translation=(origin - corner) * scale,
        kernel_type="triangle",
        antialias=antialias,
    )
    return resized + tf.constant(color, tf.float32)
