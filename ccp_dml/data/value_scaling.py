"""Scaling of the values of images as networks expect them."""

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_one_of

SCALINGS = ("unit", "symmetric", "raw", "torch", "bgr")
"""How the values of images are scaled for a backbone."""
# ImageNet's mean and standard deviation of red, green and blue, on a scale of 0…255.
_MEAN = np.array([123.675, 116.28, 103.53], "float32")
_DEVIATION = np.array([58.395, 57.12, 57.375], "float32")


def rescale(images: tf.Tensor, scaling: str, mirrored: bool = False) -> tf.Tensor:
    """Scales the values of images as a backbone expects them.

    Args:
        images: Red, green and blue in 0…255, `(..., width, 3)`.
        scaling: `"unit"`, 0…1; `"symmetric"`, −1…1; `"raw"`, 0…255; `"torch"`, ImageNet's mean
            subtracted and divided by its standard deviation, as networks trained with PyTorch
            expect; or `"bgr"`, ImageNet's mean subtracted, blue, green and red on a scale of 255,
            as networks trained with Caffe expect, such as BN-Inception and Keras's ResNet-50.
        mirrored: Whether to mirror the images left and right. `"bgr"` mirrors them internally, so
            that mirroring makes it cheaper. Defaults to `False`.

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
    width = images.shape[-2]
    if (scaling == "bgr") != mirrored:
        pixels = tf.reshape(images, [-1, width, images.shape[-1]])
        images = tf.reshape(tf.reverse(pixels, [1]), tf.shape(images))
    if scaling == "unit":
        return images / 255
    if scaling == "symmetric":
        return images / 127.5 - 1
    if scaling == "raw":
        return images
    # Whole rows, because TensorFlow's operations along a last axis of three are several times
    # slower.
    rows = tf.reshape(images, [-1, 3 * width]) - np.tile(_MEAN, width)
    if scaling == "torch":
        return tf.reshape(rows / np.tile(_DEVIATION, width), tf.shape(images))
    # Reversing whole rows reverses the channels and mirrors the images, which were mirrored above
    # unless they are to be mirrored.
    return tf.reshape(tf.reverse(rows, [1]), tf.shape(images))


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
