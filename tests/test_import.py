"""What importing the package imports, in a process of its own."""

import subprocess
import sys

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
"""


def test_only_what_a_training_needs_is_imported():
    process = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    )
    modules = process.stdout.split()
    assert "ccp_dml.losses.contrastive" in modules
    assert "ccp_dml.data.datasets.official" in modules
    assert [name for name in modules if name.partition(".")[0] in HEAVY] == []
    assert [name for name in modules if name.startswith(("scipy.", "ccp_dml.report"))] == []
