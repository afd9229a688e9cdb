"""Small images."""

import numpy as np
from PIL import Image

from ccp_dml.data import LabeledSamples

_SIZE = 72


def make_thumbnails(data: LabeledSamples, rows: np.ndarray, size: int = _SIZE) -> np.ndarray:
    """Images of samples as evaluation sees them, made small one by one.

    Args:
        data: The samples.
        rows: Which of them `(k,)`, at least one.
        size: Their longer side at most, in pixels. Defaults to 72.

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
