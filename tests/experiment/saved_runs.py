"""Run folders as training leaves them, written by hand."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np


def save_run(
    folder: pathlib.Path,
    results: Mapping,
    methods: Sequence[str] = ("plain", "ccp"),
    **flags: object,
):
    """Writes `flags.txt` and `results.json`.

    Args:
        folder: The run folder; made if it does not exist.
        results: What `results.json` holds.
        methods: The methods in `flags.txt`.
        flags: Further flags in `flags.txt`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"--workdir={folder}", f"--method={','.join(methods)}", "--nofreeze_batch_norm"]
    lines += [f"--{name}={value}" for name, value in flags.items()]
    (folder / "flags.txt").write_text("\n".join(lines) + "\n")
    (folder / "results.json").write_text(json.dumps(results))


def save_embeddings(folder: pathlib.Path, **arrays: np.ndarray) -> pathlib.Path:
    """Writes `test_embeddings.npz` into the folder of a method and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "test_embeddings.npz"
    np.savez(path, **arrays)
    return path


def unit_vectors(generator: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Random float32 vectors of length 1: `(count, size)`."""
    vectors = generator.normal(size=(count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
