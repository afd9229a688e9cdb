"""A network saved with one Keras backend embeds alike with the other."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.inference.embed_on_backend import embed_with, save_networks

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    "backbones",
    [
        ("small_convnet", "small_convnet"),
        pytest.param(("bn_inception", "small_convnet"), marks=pytest.mark.slow),
    ],
)
def test_networks_embed_alike_with_both_backends(backbones, tmp_path):
    of_tensorflow, of_jax = tmp_path / "tensorflow", tmp_path / "jax"
    for folder in (of_tensorflow, of_jax):
        folder.mkdir()
    paths = save_networks(of_tensorflow, backbones)
    subprocess.run(
        [sys.executable, "-m", "tests.inference.embed_on_backend", of_jax, *backbones, *paths],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    for name, networks in [("others", paths), ("own", [of_jax / path.name for path in paths])]:
        expected = embed_with(networks)
        with np.load(of_jax / f"{name}.npz") as found:
            assert found["backend"] == "jax"
            called, predicted = found["messages"]
            assert "use embedder.embed(images), or embedder.network" in called
            assert predicted == called
            assert "\n" not in called
            for number, embeddings in enumerate(expected):
                np.testing.assert_allclose(found[f"arr_{number}"], embeddings, rtol=0, atol=1e-5)
                # The embeddings tell the images apart.
                assert np.ptp(embeddings, axis=0).max() > 1e-3
