"""Compares image files with the model beside this program; needs ai-edge-litert, NumPy and Pillow.

    python tflite_example.py query.jpg other.jpg another.png

prints the distance from the first to each of the others: 0 for the same image, at most 2.
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).parent
BACKGROUND = tuple(json.loads((FOLDER / "tflite_input.json").read_text())["background"])


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
    interpreter = Interpreter(str(FOLDER / "model.tflite"))
    (images,), (embeddings,) = interpreter.get_input_details(), interpreter.get_output_details()
    embedded = []
    for path in paths:
        pixels = read_pixels(path)
        interpreter.resize_tensor_input(images["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(images["index"], pixels)
        interpreter.invoke()
        embedded.append(interpreter.get_tensor(embeddings["index"]))
    return np.concatenate(embedded)


if __name__ == "__main__":
    query, *others = embed(sys.argv[1:])
    for path, embedding in zip(sys.argv[2:], others, strict=True):
        print(f"{np.linalg.norm(query - embedding):.4f} {path}")
