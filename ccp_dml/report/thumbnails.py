"""Small images for display."""

import os

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image

from ccp_dml.data import LabeledSamples
from ccp_dml.data.decoding import decode_image
from ccp_dml.data.image_header import check_pixels, read_header

_SIZE = 72


def make_thumbnails(data: LabeledSamples, rows: np.ndarray, size: int = _SIZE) -> np.ndarray:
    """Makes small images of samples as evaluation sees them, one by one.

    Args:
        data: The samples.
        rows: Rows of the samples `(k,)`, at least one.
        size: Largest length of the longer side, in pixels. Defaults to 72.

    Returns:
        uint8 `(k, height, width, channels)`.
    """
    return np.stack([_shrink(image, size) for image in data.show(rows)])


def _shrink(image, size):
    height, width, channels = image.shape
    factor = size / max(height, width)
    if factor >= 1:
        return image
    shape = (max(1, round(factor * width)), max(1, round(factor * height)))
    picture = Image.fromarray(image.squeeze(2) if channels == 1 else image)
    shrunk = np.asarray(picture.resize(shape, Image.Resampling.LANCZOS))
    return shrunk[:, :, None] if channels == 1 else shrunk


def load_thumbnail(path: str | os.PathLike, size: int = 160) -> np.ndarray | None:
    """Reads an image for display, decoded as for networks: upright, transparency on white.

    Args:
        path: The file; any path that `etils.epath` knows.
        size: The longer side, in pixels; smaller images are not enlarged. Defaults to 160.

    Returns:
        uint8 `(height, width, 3)`; `None` if it cannot be read, or has more than 50 million pixels.
    """
    try:
        contents = epath.Path(path).read_bytes()
        check_pixels(read_header(contents))
        pixels = decode_image(contents, size=size)
    except (OSError, ValueError, tf.errors.OpError):
        return None
    return _shrink(pixels.numpy(), size)
