"""From encoded images to inputs of a network: crops, resizing, value scaling."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_at_least, check_one_of

SCALINGS = ("unit", "symmetric", "raw", "torch", "bgr")
CROPS = ("area", "side")
_ATTEMPTS = 10
_AREAS = (0.16, 1.0)
_ASPECT_RATIOS = (0.75, 1.33)
_SIDES = (40 / 256, 1.0)
_JPEG_RATIOS = (1, 2, 4, 8)
# ImageNet's mean and standard deviation of red, green and blue, on a scale of 0…255.
_MEAN = np.array([123.675, 116.28, 103.53], "float32")
_DEVIATION = np.array([58.395, 57.12, 57.375], "float32")
_REVERSED = np.eye(3, dtype="float32")[::-1]


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How image files become inputs of a network.

    Attributes:
        image_size: Height and width of the inputs, in pixels. Defaults to 227.
        resize_size: What the shorter side is resized to for evaluation, before the centre is cut
            out. Defaults to `None`: 256 / 227 of `image_size`.
        crop: The random crop of training; both are the CCP paper's. `"area"` (default), as its code
            does: a box of 16–100 % of the image's area with an aspect ratio of 0.75–1.33. `"side"`,
            as its text says: a square whose side is 40–256 when the shorter side of the image is
            256.
        scaling: The values of the inputs; see `rescale`. Defaults to `"unit"`.

    Raises:
        ValueError: If a size is not positive, `resize_size` is less than `image_size`, or a name is
            unknown.
    """

    image_size: int = 227
    resize_size: int | None = None
    crop: str = "area"
    scaling: str = "unit"

    def __post_init__(self):
        check_at_least("image_size", self.image_size, 1)
        if self.resize_size is not None and self.resize_size < self.image_size:
            raise ValueError(
                f"resize_size must be at least image_size, {self.image_size}; "
                f"got {self.resize_size}"
            )
        check_one_of("crop", self.crop, CROPS)
        check_one_of("scaling", self.scaling, SCALINGS)

    @property
    def shorter_side(self) -> int:
        """What the shorter side is resized to for evaluation."""
        return self.resize_size or round(self.image_size * 256 / 227)


def training_image(contents: tf.Tensor, seed: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Cuts a random box out of an image, resizes it bilinearly and flips it with probability ½.

    Of a JPEG, only the box is decoded, at a half, a quarter or an eighth of its resolution if that
    is enough.

    Args:
        contents: An encoded JPEG or PNG, a string scalar. Transparency is dropped.
        seed: Stateless seed `(2,)` that fixes the box and the flip.
        preprocessing: Size and kind of the crop.

    Returns:
        float32 `(image_size, image_size, 3)`, red, green and blue in 0…255.
    """
    box_of = {"area": area_box, "side": side_box}[preprocessing.crop]
    size = preprocessing.image_size
    region, _, _ = _decode_region(contents, lambda shape: box_of(shape, seed), size)
    image = tf.image.resize(region, (size, size))
    # Another seed than that of the box, whose random numbers would be the same.
    flip = tf.random.stateless_uniform([], tf.reverse(seed, [0])) < 0.5
    # Unlike `tf.cond` or `tf.image.flip_left_right` this adds no branch to every image.
    flipped = tf.raw_ops.Reverse(tensor=image, dims=tf.stack([False, flip, False]))
    return tf.ensure_shape(flipped, (size, size, 3))


def evaluation_image(contents: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Resizes an image so that its shorter side is `shorter_side`, and cuts out the centre.

    The resizing is bilinear and antialiased. Of a JPEG, only the centre is decoded.

    Args:
        contents: An encoded JPEG or PNG, a string scalar. Transparency is dropped.
        preprocessing: The sizes.

    Returns:
        uint8 `(image_size, image_size, 3)`.
    """
    size = preprocessing.image_size
    center = _locate_center(_read_shape(contents), preprocessing)
    region, origin, ratio = _decode_region(contents, lambda _: center.box, size)
    crops = _resize_center(region[tf.newaxis], origin, ratio, center, size)
    return tf.ensure_shape(crops[0], (size, size, 3))


def crop_center(images: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Does to pixels what `evaluation_image` does to an encoded image.

    Args:
        images: A batch of images of one size, `(batch, height, width, channels)`, values in 0…255.
        preprocessing: The sizes.

    Returns:
        uint8 `(batch, image_size, image_size, channels)`.
    """
    size = preprocessing.image_size
    center = _locate_center(tf.shape(images)[1:3], preprocessing)
    top, left, height, width = tf.unstack(center.box)
    region = images[:, top : top + height, left : left + width]
    crops = _resize_center(region, center.box[:2], tf.constant(1), center, size)
    return tf.ensure_shape(crops, (images.shape[0], size, size, images.shape[3]))


def area_box(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws a box of 16–100 % of the area and an aspect ratio (width / height) of 0.75–1.33.

    It is drawn by TensorFlow's own sampler, which slightly prefers small boxes: for images of 4 : 3
    their mean area is 43 %. If ten attempts fail, the box is the whole image.

    Args:
        shape: Height and width of the image, int32 `(2,)`.
        seed: Stateless seed `(2,)`.

    Returns:
        int32 `(4,)`: top, left, height and width, at least 1 × 1 and inside the image.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], axis=0),
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=_AREAS,
        max_attempts=_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


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


class _Center(NamedTuple):
    """What evaluation sees of an image, in the coordinates of the image."""

    side: tf.Tensor
    corner: tf.Tensor
    # What the filter reaches into as well: top, left, height and width in whole pixels.
    box: tf.Tensor


def _locate_center(shape, preprocessing):
    size, shorter_side = preprocessing.image_size, preprocessing.shorter_side
    side = size / shorter_side * tf.cast(tf.reduce_min(shape), tf.float32)
    corner = (tf.cast(shape, tf.float32) - side) / 2
    margin = side / size + 1
    first = tf.maximum(tf.cast(tf.floor(corner - margin), tf.int32), 0)
    last = tf.minimum(tf.cast(tf.math.ceil(corner + side + margin), tf.int32), shape)
    return _Center(side, corner, tf.concat([first, last - first], axis=0))


def _resize_center(regions, origin, ratio, center, size):
    """Resizes the centres of regions of images `(batch, h, w, channels)` to uint8.

    Args:
        regions: Parts of images around their centres.
        origin: Where their corners are in the images.
        ratio: How many pixels of an image, along each side, are a pixel of its region.
        center: The centre.
        size: Height and width of the result.
    """
    scale = size / center.side
    resized = tf.raw_ops.ScaleAndTranslate(
        images=regions,
        size=(size, size),
        scale=tf.repeat(scale * tf.cast(ratio, tf.float32), 2),
        translation=(tf.cast(origin, tf.float32) - center.corner) * scale,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def _read_shape(contents):
    """Height and width of an encoded image, from the header of a JPEG."""
    return tf.cond(
        tf.io.is_jpeg(contents),
        lambda: tf.image.extract_jpeg_shape(contents)[:2],
        lambda: tf.shape(_decode(contents))[:2],
    )


def _decode(contents):
    return tf.io.decode_image(contents, channels=3, expand_animations=False)


def _decode_region(contents, box_of, size):
    """Decodes a box of an image.

    JPEGs can be decoded at fractions of their resolution, which is faster and averages what a
    bilinear resizing to `size` would skip.

    Returns:
        The box, uint8 `(h, w, 3)`; where its corner is in the image, int32 `(2,)`; and how many
        pixels of the image, along each side, are one of its pixels, an int32 scalar.
    """

    def decode_jpeg():
        box = box_of(tf.image.extract_jpeg_shape(contents)[:2])
        smallest = tf.reduce_min(box[2:])
        enough = [smallest >= ratio * size for ratio in _JPEG_RATIOS[1:]]
        return tf.switch_case(
            tf.reduce_sum(tf.cast(enough, tf.int32)),
            [lambda ratio=ratio: crop_jpeg(box, ratio) for ratio in _JPEG_RATIOS],
        )

    def crop_jpeg(box, ratio):
        first = box[:2] // ratio
        last = (box[:2] + box[2:]) // ratio
        region = tf.raw_ops.DecodeAndCropJpeg(
            contents=contents,
            crop_window=tf.concat([first, last - first], axis=0),
            channels=3,
            ratio=ratio,
        )
        return region, first * ratio, tf.constant(ratio)

    def decode_other():
        image = _decode(contents)
        box = box_of(tf.shape(image)[:2])
        top, left, height, width = tf.unstack(box)
        return image[top : top + height, left : left + width], box[:2], tf.constant(1)

    return tf.cond(tf.io.is_jpeg(contents), decode_jpeg, decode_other)


def rescale(images: tf.Tensor, scaling: str) -> tf.Tensor:
    """Scales the values of images as a backbone expects them.

    Args:
        images: Red, green and blue in 0…255, `(..., width, 3)`.
        scaling: `"unit"`, 0…1; `"symmetric"`, −1…1; `"raw"`, 0…255; `"torch"`, ImageNet's mean
            subtracted and divided by its standard deviation, as networks trained with PyTorch
            expect; or `"bgr"`, ImageNet's mean subtracted, blue, green and red on a scale of 255,
            as networks trained with Caffe expect, such as BN-Inception and Keras's ResNet-50.

    Returns:
        float32 of the shape of `images`.

    Raises:
        ValueError: If `scaling` is unknown.

    Example:

    >>> rescale(np.array([[[255.0, 0.0, 127.5]]], "float32"), "symmetric").numpy()
    array([[[ 1., -1.,  0.]]], dtype=float32)
    """
    check_one_of("scaling", scaling, SCALINGS)
    images = tf.cast(images, tf.float32)
    if scaling == "unit":
        return images / 255
    if scaling == "symmetric":
        return images / 127.5 - 1
    if scaling == "raw":
        return images
    # A mean for whole rows, and a product, because TensorFlow's operations along a last axis of
    # three are several times slower.
    width = images.shape[-2]
    rows = tf.reshape(images, [-1, 3 * width]) - np.tile(_MEAN, width)
    if scaling == "torch":
        values = rows / np.tile(_DEVIATION, width)
    else:
        values = tf.reshape(rows, [-1, 3]) @ _REVERSED
    return tf.reshape(values, tf.shape(images))


def undo_rescale(images: np.ndarray, scaling: str) -> np.ndarray:
    """Undoes `rescale`, to show images.

    Args:
        images: As `rescale` returned them.
        scaling: As for `rescale`.

    Returns:
        uint8 red, green and blue, of the shape of `images`.

    Raises:
        ValueError: If `scaling` is unknown.
    """
    check_one_of("scaling", scaling, SCALINGS)
    images = np.asarray(images, "float32")
    pixels = {
        "unit": lambda: images * 255,
        "symmetric": lambda: (images + 1) * 127.5,
        "raw": lambda: images,
        "torch": lambda: images * _DEVIATION + _MEAN,
        "bgr": lambda: images[..., ::-1] + _MEAN,
    }[scaling]()
    return np.clip(np.round(pixels), 0, 255).astype("uint8")
