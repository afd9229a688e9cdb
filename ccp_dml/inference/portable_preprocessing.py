"""The crop of evaluation with operations that ONNX and TFLite support."""

import tensorflow as tf

from ccp_dml.data import Preprocessing
from ccp_dml.data.preprocessing import locate_center, pad_to_square, round_half_up, to_channels


def crop_center_portably(images: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Does the same as `ccp_dml.data.preprocessing.crop_center` with matrix products only.

    A bilinear, antialiased resizing is linear in the rows and in the columns of an image. It equals
    `crop_center` up to rounding, and takes longer: all pixels of the image are multiplied.

    Args:
        images: A batch of images of one size, `(batch, height, width, 3)`, values in 0…255.
        preprocessing: The sizes, padding and background.

    Returns:
        float32 whole numbers in 0…255, `(batch, image_size, image_size, channels)`.
    """
    size, shape = preprocessing.image_size, tf.shape(images)[1:3]
    if preprocessing.fit == "pad":
        box = pad_to_square(shape)
        corner, side = tf.cast(box[:2], tf.float32), tf.cast(box[2], tf.float32)
        first, canvas = box[:2], box[2:]
    else:
        center = locate_center(shape, preprocessing)
        corner, side = center.corner, center.side
        first, canvas = tf.zeros_like(shape), shape
    rows, columns = (
        _resizing_weights(corner[axis], side, size, first[axis], canvas[axis], shape[axis])
        for axis in (0, 1)
    )
    color = tf.constant(preprocessing.background_color, tf.float32)
    resized = _resize(tf.cast(images, tf.float32) - color, rows, columns, size) + color
    return tf.round(to_channels(round_half_up(resized), preprocessing.channels))


def _resize(images, rows, columns, size):
    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    pixels = rows[tf.newaxis] @ tf.reshape(images, [-1, height, width * 3])
    pixels = tf.transpose(tf.reshape(pixels, [-1, size, width, 3]), [0, 2, 1, 3])
    pixels = columns[tf.newaxis] @ tf.reshape(pixels, [-1, width, size * 3])
    return tf.transpose(tf.reshape(pixels, [-1, size, size, 3]), [0, 2, 1, 3])


def _resizing_weights(corner, side, size, first, canvas, length):
    """Returns the weights of pixels along an axis for each pixel of the result, `(size, length)`.

    Args:
        corner: Start of the part to resize, in pixels of the image.
        side: Its length.
        size: Number of pixels of the result.
        first: Start of the canvas, which is not after the image.
        canvas: Length of the canvas, over all of which the weights of a pixel sum to 1.
        length: Length of the image.
    """
    pixels_of_one = side / size
    centers = corner + (tf.range(size, dtype=tf.float32) + 0.5) * pixels_of_one
    positions = tf.cast(first + tf.range(canvas), tf.float32) + 0.5
    distances = tf.abs(positions - centers[:, tf.newaxis])
    weights = tf.maximum(1 - distances / tf.maximum(pixels_of_one, 1), 0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return weights[:, -first : length - first]
