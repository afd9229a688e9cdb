"""Package definition of ccp_dml."""

import pathlib

from setuptools import find_packages, setup

setup(
    name="ccp_dml",
    version="0.1.0",
    description="Deep metric learning with chance constraints (CCP) for Keras",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["ccp_dml", "ccp_dml.*"]),
    package_data={
        "ccp_dml.experiment": ["published_results.json"],
        "ccp_dml.inference": ["examples/*.py"],
        "ccp_dml.models.backbones": ["weights/*.weights.h5"],
        "ccp_dml.report": ["templates/*.html"],
    },
    python_requires=">=3.10",
    install_requires=[
        "absl-py",
        "etils[epath]",
        "filelock",
        "fonttools",
        "importlib_resources",  # tensorflow-datasets imports it but does not ask for it
        "jinja2",
        "keras>=3.9",  # the layers of RandAugment
        "matplotlib",
        "numpy>=2.0",
        "opencv-python-headless",
        "pandas>=2.2",
        "psutil",
        "pillow",
        "requests",
        "scikit-learn",
        "scipy>=1.15",
        "tensorboard",
        "tensorflow>=2.20",  # the first that decodes WebP
        "tensorflow-datasets>=4.9.7",
        "threadpoolctl",
        "tqdm",
    ],
    extras_require={
        "export": ["ai-edge-litert>=2.0", "onnx>=1.16", "onnxruntime>=1.18", "tf2onnx>=1.16"],
        "hub": ["keras-hub>=0.21"],  # backbones by the names of KerasHub
        "jax": ["jax>=0.5"],  # Keras's other backend that this runs on, for TPUs
        "search": ["faiss-cpu>=1.8", "pyarrow>=15"],  # approximate search; galleries in files
        "test": [
            "ai-edge-litert",
            "dill",
            "duckdb",
            "faiss-cpu",
            "jax",
            "onnx",
            "onnxruntime",
            "optuna",
            "playwright",
            "pyarrow",
            "pytest",
            "pytest-xdist",
            "ruff",
            "tf2onnx",
        ],
        "torch": ["torch>=2.4"],  # to read weights of PyTorch
        "tune": ["optuna>=4.0"],  # searches for settings
    },
)
