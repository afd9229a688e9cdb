"""A network that one backend of Keras has saved embeds alike with the other."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.inference.embed_on_backend import embed_with_each, save_networks

ROOT = pathlib.Path(__file__).parents[2]
NETWORKS = ("small_convnet", "bn_inception", "concatenated")


@pytest.fixture(scope="module")
def with_jax(tmp_path_factory):
    """Networks that TensorFlow and JAX have saved, and what JAX makes of them."""
    ours, theirs = tmp_path_factory.mktemp("tensorflow"), tmp_path_factory.mktemp("jax")
    paths = save_networks(ours)
    subprocess.run(
        [sys.executable, "-m", "tests.inference.embed_on_backend", theirs, *paths],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    return paths, [theirs / path.name for path in paths], theirs


@pytest.mark.parametrize("saved_by", ["tensorflow", "jax"])
def test_a_network_embeds_alike_with_both_backends(saved_by, with_jax):
    ours, theirs, folder = with_jax
    paths, name = (ours, "others.npz") if saved_by == "tensorflow" else (theirs, "own.npz")
    embeddings = embed_with_each(paths)
    with np.load(folder / name) as of_jax:
        assert of_jax["backend"] == "jax"
        for network in NETWORKS:
            np.testing.assert_allclose(embeddings[network], of_jax[network], rtol=0, atol=1e-5)
            # They tell the images apart.
            assert np.ptp(embeddings[network], axis=0).max() > 1e-3
