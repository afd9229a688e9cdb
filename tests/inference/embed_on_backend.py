"""Saves networks, and embeds images with these and with others: a folder, then their files.

On the backend that `KERAS_BACKEND` names, in a process of its own.
"""

import pathlib
import sys

import keras
import numpy as np

from ccp_dml.inference import ConcatenatedEmbedder, ImageEmbedder, load
from ccp_dml.layers import LipschitzNormalization
from ccp_dml.models import EmbeddingModel, get_backbone


def make_images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (70 + each, 90, 3), "uint8") for each in range(3)]


def save_networks(folder):
    """Saves one network of each backbone, and returns the files."""
    keras.utils.set_random_seed(0)
    return [
        _save(
            folder / "small_convnet.keras",
            get_backbone("small_convnet", (32, 32, 3), "none"),
            "unit",
        ),
        _save(
            folder / "bn_inception.keras", get_backbone("bn_inception", (64, 64, 3), "none"), "bgr"
        ),
    ]


def _save(path, backbone, scaling):
    network = EmbeddingModel(backbone, embedding_size=16)
    inputs = keras.Input(backbone.input_shape[1:])
    outputs = LipschitzNormalization()(network(inputs, training=False))
    ImageEmbedder(keras.Model(inputs, outputs), scaling).save(path)
    return path


def embed_with_each(paths):
    """Embeddings by each of the networks, and by all of them concatenated."""
    images = make_images()
    alone = {path.stem: load(path).embed(images) for path in paths}
    return {**alone, "concatenated": ConcatenatedEmbedder.load(paths).embed(images)}


def write_embeddings(path, paths):
    np.savez(path, backend=keras.backend.backend(), **embed_with_each(paths))


if __name__ == "__main__":
    folder, *others = map(pathlib.Path, sys.argv[1:])
    write_embeddings(folder / "own.npz", save_networks(folder))
    write_embeddings(folder / "others.npz", others)
