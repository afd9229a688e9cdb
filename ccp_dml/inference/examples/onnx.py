"""Compares image files with the model beside this program; needs onnxruntime, NumPy and Pillow.

    python onnx_example.py query.jpg other.jpg another.png

prints the distance from the first to each of the others: 0 for the same image, at most 2.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).parent
BACKGROUND = tuple(json.loads((FOLDER / "onnx_input.json").read_text())["background"])


def read_pixels(path):
    """Reads an image for the model: upright, on its background, uint8 `(1, h, w, 3)`."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode in ("I;16", "I"):
        # Grey of 16 bits: networks see the upper 8, and Pillow would make the rest white.
        image = Image.fromarray((np.asarray(image) // 256).astype("uint8"))
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, BACKGROUND)
    return np.asarray(Image.alpha_composite(background, image).convert("RGB"))[np.newaxis]


def embed(paths):
    """Computes normalised embeddings of image files, float32 `(n, d)`."""
    session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"))
    return np.concatenate([session.run(None, {"images": read_pixels(path)})[0] for path in paths])


if __name__ == "__main__":
    query, *others = embed(sys.argv[1:])
    for path, embedding in zip(sys.argv[2:], others, strict=True):
        print(f"{np.linalg.norm(query - embedding):.4f} {path}")
