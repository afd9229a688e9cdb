"""Compares image files with the SavedModel beside this program; needs only TensorFlow.

    python saved_model_example.py query.jpg other.jpg another.png

prints the distance from the first to each of the others: 0 for the same image, at most 2.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf


def embed(paths):
    """Computes normalised embeddings of image files, float32 `(n, d)`."""
    model = tf.saved_model.load(str(pathlib.Path(__file__).parent / "saved_model"))
    contents = [pathlib.Path(path).read_bytes() for path in paths]
    return model.signatures["serving_default"](tf.constant(contents))["embeddings"].numpy()


if __name__ == "__main__":
    query, *others = embed(sys.argv[1:])
    for path, embedding in zip(sys.argv[2:], others, strict=True):
        print(f"{np.linalg.norm(query - embedding):.4f} {path}")
