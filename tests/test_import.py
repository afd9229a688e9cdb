"""What importing the package imports and registers, in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

from tests.data.pictures import encoded, gradient
from tests.inference.embedders import small_embedder

# Packages that are slow to import, or not needed for training in a notebook.
HEAVY = {
    "IPython",
    "array_record",
    "cv2",
    "datasets",
    "duckdb",
    "faiss",
    "fontTools",
    "jax",
    "jinja2",
    "keras_hub",
    "matplotlib",
    "onnx",
    "optuna",
    "pandas",
    "pyarrow",
    "requests",
    "sklearn",
    "tensorflow_datasets",
    "tf2onnx",
    "torch",
}
# TensorFlow and Keras import some of these themselves if they are installed.
CODE = """
import sys
import keras
import tensorflow
before = set(sys.modules)
import ccp_dml
print(*sorted(set(sys.modules) - before))
import numpy
folder = sys.argv[1]
embedder = keras.models.load_model(folder + "/model.keras")
numpy.save(folder + "/embeddings.npy", embedder.embed([folder + "/image.png"]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The modules that were imported, the embedding by a network that was loaded, and ours."""
    folder = tmp_path_factory.mktemp("network")
    embedder = small_embedder()
    embedder.save(folder / "model.keras")
    (folder / "image.png").write_bytes(encoded(gradient(50, 33), "PNG"))
    process = subprocess.run(
        [sys.executable, "-c", CODE, folder], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    expected = embedder.embed([folder / "image.png"])
    return process.stdout.split(), np.load(folder / "embeddings.npy"), expected


def test_saved_networks_are_loaded(imported):
    _, found, expected = imported
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_only_what_a_training_needs_is_imported(imported):
    modules, *_ = imported
    assert "ccp_dml.losses.contrastive" in modules
    assert "ccp_dml.data.datasets.official" in modules
    assert [name for name in modules if name.partition(".")[0] in HEAVY] == []
    assert [name for name in modules if name.startswith(("scipy.", "ccp_dml.report"))] == []
