"""Pictures of coloured shapes in the formats and the disguises that images come in."""

import colorsys
import io
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageOps

ORIENTATION = 0x0112
# How to turn a picture before it is stored, so that its EXIF orientation turns it back.
_STORED_TURN = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def draw_shape(kind: int, num_kinds: int, seed: int) -> Image.Image:
    """A shape on a transparent background, RGBA of random size; colour and corners tell its kind.

    The pixels of the background, which nobody should see, have a random colour.
    """
    generator = np.random.default_rng((kind, seed))
    width, height = (int(side) for side in generator.integers(70, 110, 2))
    hue, corners = kind / num_kinds, 3 + kind % 4
    color = tuple(round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.8, 0.5 + kind % 2 / 3))
    size = generator.uniform(0.3, 0.42) * min(width, height)
    middle = np.array([width, height]) / 2 + generator.uniform(-5, 5, 2)
    turn = generator.uniform(-0.2, 0.2)
    outline = [
        tuple(middle + size * np.array([math.cos(angle), math.sin(angle)]))
        for angle in turn + 2 * math.pi * np.arange(corners) / corners
    ]
    image = Image.new("RGBA", (width, height), (*generator.integers(0, 256, 3).tolist(), 0))
    ImageDraw.Draw(image).polygon(outline, fill=(*color, 255))
    return image


def write_shape(image: Image.Image, path: pathlib.Path, disguise: int) -> pathlib.Path:
    """Writes a picture in one of eight ways; returns the path with the format's suffix."""
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    suffix, picture, options = [
        (".jpg", opaque, {"quality": 90}),
        (".png", image, {}),
        (".webp", image, {"lossless": True}),
        (".gif", _with_free_color(image), {"transparency": 255}),
        (".bmp", opaque, {}),
        (".jpg", *_turned(opaque, 6)),
        (".JPEG", opaque.convert("CMYK"), {"quality": 90}),
        (".jpg", *_turned(opaque, 8)),
    ][disguise % 8]
    path = path.with_name(path.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def _with_free_color(image):
    """A picture of 255 colours, and one more for transparent pixels."""
    picture = image.convert("RGB").quantize(255)
    picture.paste(255, mask=image.getchannel("A").point(lambda alpha: 255 * (alpha < 128)))
    return picture


def _turned(image, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return image.transpose(_STORED_TURN[orientation]), {"quality": 90, "exif": exif}


def recode(path: pathlib.Path, scale: float = 0.8, quality: int = 70) -> bytes:
    """A copy of a picture as people pass it on: smaller, and a JPEG of low quality."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    smaller = opaque.resize([round(side * scale) for side in opaque.size])
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=quality)
    return file.getvalue()
