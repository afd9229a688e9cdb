"""Random changes to training images, determined by stateless seeds."""

from collections.abc import Callable

import tensorflow as tf

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Maps images `(n, height, width, channels)` and a stateless seed `(2,)` to changed images."""


def random_affine(
    images: tf.Tensor,
    seed: tf.Tensor,
    rotation: float = 0.2,
    scale: float = 0.15,
    shear: float = 0.2,
    shift: float = 0.1,
) -> tf.Tensor:
    """Rotates, scales, shears and shifts each image; pixels outside the image are zero.

    Args:
        images: Float images `(n, height, width, channels)`.
        seed: Stateless seed `(2,)`.
        rotation: Largest angle, in radians. Defaults to 0.2.
        scale: Largest relative change of the width and, independently, of the height. Defaults to
            0.15.
        shear: Largest shift of a pixel relative to its height above the centre. Defaults to 0.2.
        shift: Largest shift, relative to width and height. Defaults to 0.1.

    Returns:
        Images of the shape of `images`, interpolated bilinearly.
    """
    shape = tf.shape(images)
    height, width = (tf.cast(size, tf.float32) for size in (shape[1], shape[2]))
    bounds = tf.constant([rotation, scale, scale, shear, shift, shift], tf.float32)[:, None]
    uniform = tf.random.stateless_uniform([6, shape[0]], seed, -1.0, 1.0)
    angle, wider, higher, slant, right, down = tf.unstack(bounds * uniform)
    # The output's pixel (x, y) comes from the input's (x, y) · matrix + offset.
    cosine, sine = tf.cos(angle), tf.sin(angle)
    x_from_x, x_from_y = cosine * (1 + wider), slant - sine * (1 + higher)
    y_from_x, y_from_y = sine * (1 + wider), cosine * (1 + higher)
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    x_offset = center_x + right * width - x_from_x * center_x - x_from_y * center_y
    y_offset = center_y + down * height - y_from_x * center_x - y_from_y * center_y
    zeros = tf.zeros_like(angle)
    transforms = tf.stack(
        [x_from_x, x_from_y, x_offset, y_from_x, y_from_y, y_offset, zeros, zeros], axis=1
    )
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved, images.shape)
