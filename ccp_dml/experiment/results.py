"""The files of a run in its folder: reading, resuming and displaying them."""

import os
import platform
from importlib.metadata import version
from typing import Any

import keras
import numpy as np
import sklearn
import tensorflow as tf
from etils import epath

import ccp_dml
from ccp_dml.atomic_write import atomic_write, remove_unfinished
from ccp_dml.experiment.flags import flagfile, settings_from_flagfile
from ccp_dml.experiment.metrics import CLASS_FILE, metric_titles
from ccp_dml.experiment.run_folders import BASELINES
from ccp_dml.experiment.settings import METHODS, Settings
from ccp_dml.experiment.workdir import move_to_earlier, read_json, write_json
from ccp_dml.report import metrics_table

VALIDATION_FILE = "validation.json"
"""File with the validation results of a run that does not measure the test classes."""

RESULT_FILES = (
    "flags.txt",
    "results.json",
    VALIDATION_FILE,
    "evaluation.json",
    CLASS_FILE,
    "model.keras",
    "rounds.png",
    "gallery.png",
    "report.html",
    "checkpoints",
    "before",
    *METHODS,
)
"""The files and folders that a run leaves."""

TRAINING_COLUMNS = {
    "steps": "steps",
    "best_step": "best step",
    "rounds": "rounds",
    "seconds": "seconds",
}
"""Numbers about the training of a row of the results, with their titles."""


def finished_results(workdir: str | os.PathLike, settings: Settings) -> dict[str, Any] | None:
    """Returns the results of a finished run; `None` if something is missing.

    Args:
        workdir: Its folder.
        settings: Its settings.
    """
    folder = epath.Path(workdir)
    results = read_json(folder / "results.json")
    if not isinstance(results, dict) or _find_difference(folder, settings, results):
        return None
    wanted = {"before", *settings.method, *(["figure"] if settings.figure_rounds else [])}
    return results if wanted <= set(results) else None


def finished_validation(workdir: str | os.PathLike, settings: Settings) -> dict[str, Any] | None:
    """Returns the validation of a finished run; `None` if it is not finished.

    Args:
        workdir: Its folder.
        settings: Its settings.
    """
    folder = epath.Path(workdir)
    results = read_json(folder / VALIDATION_FILE)
    if not isinstance(results, dict) or _find_difference(folder, settings, results):
        return None
    return results if set(settings.method) <= set(results) else None


def load_unfinished_results(
    workdir: epath.Path, settings: Settings, data_fingerprint: str
) -> dict[str, Any]:
    """Loads the results that an interrupted run left, and moves those of another run away.

    Args:
        workdir: Folder of the run.
        settings: Its settings.
        data_fingerprint: Fingerprint of its data; see `fingerprint_data`.

    Returns:
        The results so far: at least the seed, the data and the versions.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    remove_unfinished(workdir)
    results = read_json(workdir / "results.json")
    difference = _find_difference(workdir, settings, results, data_fingerprint)
    if difference is None:
        if isinstance(results, dict):
            return results
    else:
        earlier = move_to_earlier(workdir, RESULT_FILES)
        if earlier is not None:
            print(f"{workdir} contained results {difference}, which were moved to {earlier}")
        with atomic_write(workdir / "flags.txt") as unfinished:
            unfinished.write_text(flagfile(settings, workdir))
    return {
        "seed": settings.seed,
        "fold": settings.fold,
        "data": data_fingerprint,
        "versions": {
            "ccp_dml": ccp_dml.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            **({"jax": version("jax")} if keras.backend.backend() == "jax" else {}),
            "keras": keras.__version__,
            "numpy": np.__version__,
            "scikit_learn": sklearn.__version__,
        },
    }


def _find_difference(workdir, settings, results, data_fingerprint=None):
    """Describes how the contents of a folder differ from this run; `None` if they do not.

    Without a fingerprint, data are not compared.
    """
    try:
        has_settings = settings_from_flagfile(workdir / "flags.txt").same_results(settings)
    except (OSError, ValueError):
        has_settings = False
    if not has_settings:
        return "with other settings"
    if isinstance(results, dict):
        # Other random numbers give other results. The first versions had only one backend.
        backend = results.get("backend", "tensorflow")
        if backend != keras.backend.backend():
            return f"of the Keras backend {backend} (this is {keras.backend.backend()})"
        # The first versions did not record it.
        if data_fingerprint and results.get("data", data_fingerprint) != data_fingerprint:
            return "of other data (images, classes or labels have changed since)"
    return None


def write_results(workdir: epath.Path, results: dict[str, Any]):
    """Writes `results.json` atomically."""
    write_json(workdir / "results.json", results)


def best_method(results: dict[str, Any], settings: Settings) -> str:
    """Returns the method that validated best; in a tie, the first."""
    finished = [method for method in settings.method if method in results]
    return max(finished, key=lambda method: results[method][f"validation_{settings.monitor}"])


def results_table(results: dict, methods: tuple[str, ...]) -> str:
    """Formats the results as a Markdown table, with a row for each baseline and each method.

    Args:
        results: As `Run.train` returns them.
        methods: The methods in `results`.
    """
    names = [name for name in BASELINES if name in results]
    rows = {name: results[name] for name in (*names, *methods)}
    return metrics_table("on unseen classes", rows, metric_titles(rows) | TRAINING_COLUMNS)


def describe_results(workdir: epath.Path, results: dict, settings: Settings) -> str:
    """Describes where the files of a run are.

    Args:
        workdir: Its folder.
        results: As `Run.train` returns them.
        settings: Its settings.
    """
    best = best_method(results, settings)
    report = workdir / "report.html"
    gallery = workdir / "gallery.png"
    lines = [f"report    {report}"] if report.exists() else []
    lines += [f"gallery   {gallery}"] if gallery.exists() else []
    lines += [
        f"results   {workdir / 'results.json'}",
        f"network   {workdir / 'model.keras'} ({best}, which validated best)",
    ]
    lines += [
        f"{method:9} {workdir / method}: model.keras, history.csv, tensorboard, "
        f"test_embeddings.npz, {CLASS_FILE}"
        for method in settings.method
    ]
    if results.get("figure", {}).get("rounds"):
        lines.append(f"figure    {workdir / 'rounds.png'}")
    return "\n".join(lines)
