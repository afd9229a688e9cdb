"""Small images for display."""

import os

import numpy as np
from etils import epath
from PIL import Image, ImageOps

from ccp_dml.data import LabeledSamples

_SIZE = 72
# Limit for decoding an untrusted image.
_MAX_PIXELS = 50_000_000
# What Pillow and file systems raise; SyntaxError is for damaged PNG files.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

# Modes of grey PNG files of 16 bits, the second in earlier versions of Pillow.
_SIXTEEN_BITS = ("I;16", "I")


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
    """Reads an image for display: rotated according to EXIF data, transparency on white.

    Args:
        path: The file; any path that `etils.epath` knows.
        size: The longer side, in pixels; smaller images are not enlarged. Defaults to 160.

    Returns:
        uint8 `(height, width, 3)`; `None` if it cannot be read, or has more than 50 million pixels.
    """
    try:
        with epath.Path(path).open("rb") as file, Image.open(file) as image:
            if image.width * image.height > _MAX_PIXELS:
                return None
            # A JPEG is decoded no larger than necessary.
            image.draft("RGB", (2 * size, 2 * size))
            upright = _as_eight_bits(ImageOps.exif_transpose(image))
            upright.thumbnail((size, size))
            colored = upright.convert("RGBA")
    except _UNREADABLE:
        return None
    ground = Image.new("RGBA", colored.size, "white")
    return np.asarray(Image.alpha_composite(ground, colored).convert("RGB"))


def _as_eight_bits(image):
    """Returns the upper 8 of 16 bits, which networks see; Pillow would make the rest white."""
    if image.mode not in _SIXTEEN_BITS:
        return image
    return Image.fromarray((np.asarray(image) // 256).astype("uint8"))
