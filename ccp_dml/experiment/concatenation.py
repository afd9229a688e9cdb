"""Concatenation of the embeddings of the networks of several folds."""

import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from sklearn.decomposition import PCA

from ccp_dml.evaluation import concatenate_embeddings
from ccp_dml.experiment.metrics import find_chosen, measure_chosen
from ccp_dml.experiment.run_folders import FinishedRun
from ccp_dml.layers import lipschitz_normalize

CONCATENATED, REDUCED = "concatenated", "reduced"
EMBEDDINGS_FILE = "test_embeddings.npz"

# Of the queries and, if there is one, of the gallery.
_EMBEDDINGS = ("embeddings", "gallery_embeddings")
_LABELS = ("labels", "gallery_labels")
# Errors that NumPy and zipfile raise for a damaged file.
_DAMAGED = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def reduce_embeddings(parts: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Reduces the embeddings of several networks so that their concatenation has a given size.

    This is the reduction in the CCP paper's program, an option that its published results do not
    use: a separate PCA of each network's embeddings, before they are normalised and concatenated,
    fitted without labels on the same embeddings that it reduces (test images; for In-Shop queries
    and gallery together), centred, by a full singular value decomposition, not whitened. That
    program reduces the outputs of the network; here the saved embeddings are reduced, which are
    already normalised. Each of m networks keeps `size // m` components: 32 of 128 for four.

    Args:
        parts: For each network its embeddings `(n, d)`, of queries and gallery one after the other.
        size: Size of the concatenation; the size of a single network makes the two comparable.

    Returns:
        For each network its reduced embeddings, after the Lipschitz normalisation. Each has at
        least one component, and at most as many as there are images or dimensions.
    """
    components = max(1, size // len(parts))
    return [
        np.asarray(
            lipschitz_normalize(
                PCA(min(components, *part.shape), svd_solver="full").fit_transform(part)
            )
        )
        for part in parts
    ]


def concatenate_folds(
    runs: Sequence[FinishedRun], folds: frozenset[int]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measures the concatenated networks of all folds for each seed and method.

    Args:
        runs: Finished runs of one protocol, whose embeddings are in `<method>/test_embeddings.npz`.
        folds: The folds of the protocol; a single fold leaves nothing to concatenate.

    Returns:
        For each seed and method a dictionary with `seed`, `method`, `embedding`, which is
        `"concatenated"`, and the results of `measure_concatenation`, and another in which it is
        `"reduced"`; and sentences about what could not be measured.
    """
    rows, notes = [], []
    if len(folds) < 2:
        return rows, notes
    for seed in sorted({run.seed for run in runs}):
        run_by_fold = {run.fold: run for run in runs if run.seed == seed}
        missing = sorted(folds - set(run_by_fold))
        if missing:
            named = ", ".join(str(fold) for fold in missing)
            verb = f"fold {named} is" if len(missing) == 1 else f"folds {named} are"
            notes.append(f"no concatenation for seed {seed}: {verb} missing.")
            continue
        for method in run_by_fold[min(folds)].methods:
            fold_runs = [run_by_fold[fold] for fold in sorted(folds)]
            paths = [run.folder / method / EMBEDDINGS_FILE for run in fold_runs]
            logging.info("Measuring the concatenation of %s, seed %d.", method, seed)
            try:
                measured = measure_concatenation(paths, _common_metrics(fold_runs, method), seed)
            except ValueError as error:
                notes.append(f"no concatenation for seed {seed} of {method}: {error}.")
                continue
            for kind, metrics in zip((CONCATENATED, REDUCED), measured, strict=True):
                rows.append({"seed": seed, "method": method, "embedding": kind, **metrics})
    return rows, notes


def _common_metrics(runs, method):
    """Returns the additional metrics that all runs have for a method."""
    measured = [run.metrics.get(method, {}) for run in runs]
    return [name for name in find_chosen(measured[0]) if all(name in each for each in measured)]


def measure_concatenation(
    paths: Sequence[epath.PathLike], metrics: Sequence[str] = (), seed: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Measures retrieval with the concatenated embeddings of several networks.

    Args:
        paths: Files `test_embeddings.npz` of networks that embedded the same test images.
        metrics: Names of further metrics; see `ccp_dml.evaluation.choose_metrics`. Defaults to
            none.
        seed: See `ccp_dml.experiment.metrics.measure_chosen`. Defaults to 0.

    Returns:
        What `ccp_dml.experiment.metrics.measure_chosen` measures and `embedding_size`, of the
        concatenation and of its reduction to the size of the first network; see
        `concatenate_embeddings` and `reduce_embeddings`.

    Raises:
        ValueError: If a file is missing, damaged, or not of the same images as the first.
    """
    saved = [load_embeddings(path) for path in paths]
    labels = _list_labels(saved[0])
    for path, arrays in zip(paths, saved, strict=True):
        if not _are_equal(_list_labels(arrays), labels):
            raise ValueError(f"{path} does not contain the same images as {paths[0]}")
    parts = [
        np.concatenate([arrays[name] for name in _EMBEDDINGS if name in arrays]) for arrays in saved
    ]
    size = parts[0].shape[1]
    concatenated, reduced = (
        _measure(concatenate_embeddings(each), labels, metrics, seed)
        for each in (parts, reduce_embeddings(parts, size))
    )
    return concatenated, reduced


def _list_labels(arrays):
    return [arrays[name] for name in _LABELS if name in arrays]


def _are_equal(arrays, others):
    return len(arrays) == len(others) and all(map(np.array_equal, arrays, others))


def _measure(embeddings, labels, names, seed):
    parts = np.split(embeddings, [len(labels[0])])[: len(labels)]
    metrics, _ = measure_chosen(parts, labels, names, seed)
    return {"embedding_size": embeddings.shape[1], **metrics}


def load_embeddings(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Loads the embeddings of the test images that training saved.

    Args:
        path: A file `test_embeddings.npz`.

    Returns:
        `embeddings` `(n, d)` and `labels` `(n,)` and, if there is a gallery, `gallery_embeddings`
        and `gallery_labels`.

    Raises:
        ValueError: If the file does not exist or is damaged.
    """
    try:
        with epath.Path(path).open("rb") as file, np.load(file) as saved:
            arrays = {name: saved[name] for name in (*_EMBEDDINGS, *_LABELS) if name in saved}
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    for names in zip(_EMBEDDINGS, _LABELS, strict=True):
        if "gallery_" in names[0] and not set(names) & set(arrays):
            continue
        shapes = [arrays[name].shape if name in arrays else () for name in names]
        if len(shapes[0]) != 2 or shapes[1] != shapes[0][:1]:
            raise ValueError(
                f"{path} must hold {names[0]} (n, d) and {names[1]} (n,); their shapes are "
                f"{shapes[0]} and {shapes[1]}"
            )
    return arrays
