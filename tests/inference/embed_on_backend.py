"""Saves networks, and embeds images with them and with networks saved elsewhere.

It runs in a process of its own, on the backend that `KERAS_BACKEND` names. Its arguments are a
folder, the backbones of its networks, and the files of as many networks saved elsewhere.
"""

import pathlib
import sys

import keras
import numpy as np

from ccp_dml.inference import ConcatenatedEmbedder, ImageEmbedder
from ccp_dml.layers import LipschitzNormalization
from ccp_dml.models import EmbeddingModel, get_backbone


def save_networks(folder, backbones):
    """Saves a network of each backbone, and returns the files."""
    return [_save(folder, number, backbone) for number, backbone in enumerate(backbones)]


def _save(folder, number, backbone):
    keras.utils.set_random_seed(number)
    network = EmbeddingModel(get_backbone(backbone, (64, 64, 3), "none"), embedding_size=16)
    inputs = keras.Input((64, 64, 3))
    outputs = LipschitzNormalization()(network(inputs, training=False))
    path = folder / f"{number}_{backbone}.keras"
    ImageEmbedder(keras.Model(inputs, outputs), "unit").save(path)
    return path


def embed_with(paths):
    """Embeddings of some images by each of the networks, and by all of them concatenated."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (70 + each, 90, 3), "uint8") for each in range(3)]
    networks = ConcatenatedEmbedder.load(paths)
    alone = [network.embed(images) for network in networks.embedders]
    return [*alone, networks.embed(images)]


def call_with(path):
    """The errors when a network is called, and when it is asked to predict."""
    network = ConcatenatedEmbedder.load([path]).embedders[0]
    images, messages = np.full((2, 70, 90, 3), 99, "uint8"), []
    for function in (network, network.predict):
        try:
            function(images)
        except RuntimeError as error:
            messages.append(str(error))
    return messages


if __name__ == "__main__":
    folder, *arguments = map(pathlib.Path, sys.argv[1:])
    backbones, others = np.split(np.array(arguments), 2)
    for name, paths in [
        ("own", save_networks(folder, map(str, backbones))),
        ("others", list(others)),
    ]:
        np.savez(
            folder / f"{name}.npz",
            *embed_with(paths),
            backend=keras.backend.backend(),
            messages=call_with(paths[-1]),
        )
