"""Small networks for images."""

import types

import keras
import numpy as np
from PIL import Image

from ccp_dml.inference import ImageEmbedder


def small_embedder(seed: int = 0, size: int = 8, image_size: int = 8) -> ImageEmbedder:
    """A linear map of all pixels, with random weights that the seed fixes."""
    inputs = keras.Input((image_size, image_size, 3))
    initializer = keras.initializers.RandomNormal(stddev=0.3, seed=seed)
    # The mean of the pixels would make all embeddings alike.
    centered = keras.layers.Rescaling(1.0, offset=-0.5)(inputs)
    outputs = keras.layers.Dense(size, kernel_initializer=initializer)(
        keras.layers.Flatten()(centered)
    )
    return ImageEmbedder(keras.Model(inputs, outputs), "unit", resize_size=image_size)


class ColorEmbedder:
    """A fast stand-in for a `ConcatenatedEmbedder`: embeds an image as its mean colour."""

    embedding_size = 3

    def __init__(self, name: str = "color", scale: float = 1.0):
        self.fingerprints = [name]
        self.embedders = [types.SimpleNamespace(preprocessing="none")]
        self.scale = scale
        self.calls = []

    def embed(self, images, batch_size=256, max_pixels=0):
        self.calls.append(images)
        return np.array([self._embed_one(image) for image in images], "float32").reshape(-1, 3)

    def _embed_one(self, path):
        try:
            with Image.open(path) as image:
                return self.scale * np.asarray(image.convert("RGB")).mean(axis=(0, 1)) / 255
        except OSError as error:
            raise ValueError(f"{path} is damaged") from error
