"""The report of finished runs: from their folders to one HTML page."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.data import DATASETS_IN_MEMORY, Benchmark
from ccp_dml.data.image_index import absolute_path
from ccp_dml.experiment.concatenation import EMBEDDINGS_FILE, load_embeddings
from ccp_dml.experiment.metrics import metric_titles
from ccp_dml.experiment.records import SINGLE, Record
from ccp_dml.experiment.results import TRAINING_COLUMNS
from ccp_dml.experiment.run_folders import FinishedRun
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.table import CAPTIONS, Tables
from ccp_dml.experiment.training_data import load_benchmark
from ccp_dml.report import (
    Note,
    RetrievalSamples,
    Retriever,
    Section,
    Table,
    Training,
    class_section,
    distance_section,
    draw_queries,
    gallery_section,
    make_retriever,
    make_samples,
    map_section,
    metrics_cells,
    recall_section,
    render_page,
    round_section,
    training_section,
)

REPORT_FILE = "report.html"
GALLERY_FILE = "gallery.png"

# More would make the file too large for a phone.
_MAX_RETRIEVERS = 6
_STEPS_PER_VALIDATION = 25


class ReportFailedError(Exception):
    """Raised when the report of finished runs could not be made; the cause says why."""


def write_report(
    tables: Tables, output: epath.PathLike, benchmark: Benchmark | None = None
) -> epath.Path:
    """Writes the report of finished runs, one HTML file, and a picture of retrieved images.

    The same folders always give the same bytes. Sections about a single network (galleries,
    classes, maps, distances) are shown for the first fold and seed of each folder.

    Args:
        tables: The runs, as `ccp_dml.experiment.table.make_tables` reads them.
        output: The folder to write `report.html` and, if there are images, `gallery.png` to.
        benchmark: Their data. Defaults to `None`: they are loaded; if that is not possible, the
            report has no images and says so.

    Returns:
        The path of the report.

    Raises:
        ReportFailedError: If a file cannot be read or written; the runs are nevertheless complete.
    """
    names = dict.fromkeys(tables.record.runs["name"])
    path = epath.Path(output) / REPORT_FILE
    try:
        networks = _find_networks(tables.record, benchmark)
        page = render_page(f"Report of {', '.join(names)}", _make_sections(tables, networks))
        with atomic_write(path) as unfinished:
            # File names need not be Unicode.
            unfinished.write_bytes(page.encode(errors="replace"))
        _write_gallery(networks, epath.Path(output) / GALLERY_FILE)
    except (OSError, tf.errors.OpError) as error:
        raise ReportFailedError(
            f"the results are complete, but {path} could not be written; --mode=report tries again"
        ) from error
    return path


def _make_sections(tables, networks):
    record = tables.record
    trainings = _read_trainings(record)
    retrievers, samples = networks.retrievers, networks.samples
    notes = [Note(note) for note in networks.notes]
    sections = [
        _result_section(tables, notes),
        _settings_section(record),
        recall_section(_mean_metrics(record)),
    ]
    if retrievers:
        sections += [
            *_picture_sections(retrievers, samples),
            class_section(retrievers, samples),
            distance_section(retrievers, samples),
        ]
    return [
        *sections,
        training_section(trainings, _monitor(record)),
        round_section(trainings, _read_drawn_rounds(record)),
    ]


def _result_section(tables, notes):
    runs = [run for folder in tables.record.folders.values() for run in folder]
    if len(runs) == 1 and len(tables.record.runs["name"].unique()) == 1:
        rows = runs[0].metrics
        titles = metric_titles(rows) | TRAINING_COLUMNS
        cells = metrics_cells("on unseen classes", rows, titles)
        caption = (
            "Retrieval among classes that were not trained on. The first rows are the baselines "
            "that a method has to beat: the images themselves, where they are small, the features "
            "of the backbone, and the embeddings before training."
        )
        blocks = [Table.from_cells(cells, caption, ["on unseen classes"])]
        shown = ["published"]
    else:
        blocks, shown = [], list(CAPTIONS)
    blocks += [
        Table.from_cells(tables.cells[name], CAPTIONS[name])
        for name in shown
        if name in tables.cells
    ]
    return Section("Results", [*blocks, *(Note(note) for note in tables.notes), *notes])


def _settings_section(record):
    """Makes the section of settings that are not the defaults or differ between folders."""
    settings = {name: _list_settings(runs) for name, runs in record.folders.items()}
    known = {name: values for name, values in settings.items() if values}
    blocks: list[Note | Table] = [
        Note(f"The settings of {name} are not those of this version and are not shown.")
        for name in settings
        if name not in known
    ]
    defaults = {name: _show(value) for name, value in _values(Settings()).items()}
    rows = [
        (name, *(values[name] for values in known.values()), default)
        for name, default in defaults.items()
        if any(values[name] != default for values in known.values())
    ]
    if known and rows:
        blocks.append(
            Table(
                ["setting", *known, "default"],
                rows,
                "Settings that differ from the defaults (the paper's for CUB-200-2011)"
                + (" or from each other." if len(known) > 1 else "."),
                ["setting", *known, "default"],
            )
        )
    return Section("Settings", blocks)


def _list_settings(runs: Sequence[FinishedRun]) -> dict[str, str]:
    """Lists the settings of runs as texts, with several values where they differ."""
    values = [run.settings() for run in runs]
    if None in values:
        return {}
    return {
        name: ", ".join(dict.fromkeys(_show(_values(each)[name]) for each in values))
        for name in _values(values[0])
    }


def _values(settings):
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def _show(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        # Losses take words too.
        texts = (
            f"{name}={each if isinstance(each, str) else f'{each:g}'}"
            for name, each in value.items()
        )
        return ", ".join(texts) or "–"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value) or "–"


def _mean_metrics(record):
    """Computes means over folds and seeds, by the titles of methods."""
    singles = record.runs[record.runs["embedding"] == SINGLE]
    names = singles["name"].unique()
    means = {}
    for (name, method), group in singles.groupby(["name", "method"], sort=False):
        numbers = group.select_dtypes("number").mean().dropna().to_dict()
        means[_title(name, method, len(names) > 1)] = numbers
    return means


def _title(name, method, has_several):
    return f"{name}: {method}" if has_several else method


def _monitor(record):
    for runs in record.folders.values():
        return runs[0].flag("monitor") or Settings.monitor
    return Settings.monitor


def _read_trainings(record: Record) -> list[Training]:
    trainings = []
    for name, runs in record.folders.items():
        for method in dict.fromkeys(method for run in runs for method in run.methods):
            for run in runs:
                history = _read_history(run, method)
                if history is not None:
                    title = _title(name, method, len(record.folders) > 1)
                    trainings.append(Training(title, history))
    return trainings


def _read_history(run, method):
    path = run.folder / method / "history.csv"
    if method not in run.methods or not path.exists():
        return None
    try:
        with path.open("r") as file:
            history = pd.read_csv(file)
    # Of pandas, and for bytes that are not text.
    except ValueError:
        history = pd.DataFrame()
    if not {"epoch", "step"} & set(history):
        logging.warning("%s is damaged and not shown in the report.", path)
        return None
    if "step" not in history:
        # Earlier versions did not write steps.
        steps = int(run.flag("steps_per_validation") or _STEPS_PER_VALIDATION)
        history["step"] = (history["epoch"] + 1) * steps
    return history


def _read_drawn_rounds(record):
    paths = {name: runs[0].folder / "rounds.png" for name, runs in record.folders.items()}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


class _Networks(NamedTuple):
    """The networks that represent their folders.

    Attributes:
        retrievers: Their retrieval results.
        samples: The test samples of all of them; `None` without networks.
        notes: What is not shown, in sentences.
    """

    retrievers: Sequence[Retriever]
    samples: RetrievalSamples | None
    notes: Sequence[str]


def _find_networks(record, benchmark):
    chosen, notes = _choose_embeddings(record)
    if not chosen:
        return _Networks([], None, notes)
    first = next(iter(chosen.values()))
    labels = [first.get(name) for name in ("labels", "gallery_labels")]
    benchmark, reason = _find_images(record, benchmark, labels)
    if benchmark is None:
        notes.append(f"There are no images in this report: {reason}.")
    samples = RetrievalSamples(*labels)
    if benchmark is not None:
        samples = make_samples(benchmark.test, benchmark.gallery, benchmark.class_names)
    retrievers = [
        make_retriever(title, arrays["embeddings"], arrays.get("gallery_embeddings"), samples)
        for title, arrays in chosen.items()
    ]
    several = [name for name, runs in record.folders.items() if len(runs) > 1]
    if several:
        notes.append(
            "Queries, classes, maps and distances are those of one run per folder: "
            + ", ".join(f"{record.folders[name][0].folder.name} of {name}" for name in several)
            + "."
        )
    return _Networks(retrievers, samples, notes)


def _choose_embeddings(record):
    """Chooses the embeddings of a limited number of networks, by title, and notes the others."""
    chosen, notes, left_out = {}, [], []
    has_several = len(record.folders) > 1
    for name, runs in record.folders.items():
        loaded = {}
        for method in ("before", *runs[0].methods):
            path = runs[0].folder / method / EMBEDDINGS_FILE
            # Earlier versions did not save it.
            if method != "before" or path.exists():
                try:
                    loaded[_title(name, method, has_several)] = load_embeddings(path)
                except ValueError as error:
                    notes.append(f"{name}, {method} is not shown below: {error}.")
        for title, arrays in loaded.items():
            first_title, first = next(iter(chosen.items()), (title, arrays))
            if not _are_same_images(arrays, first):
                notes.append(
                    f"{name} is in tables and curves only: its test images are not those of "
                    f"{first_title.partition(': ')[0]}."
                )
                break
            if title.endswith("before") and _is_among(arrays, chosen.values()):
                continue
            if len(chosen) < _MAX_RETRIEVERS:
                chosen[title] = arrays
            else:
                left_out.append(title)
    if left_out:
        notes.append(
            f"{', '.join(left_out)}: in tables and curves only, because there is room for "
            f"{_MAX_RETRIEVERS} methods; --mode=report with fewer --runs shows them."
        )
    return chosen, notes


def _are_same_images(arrays, others):
    return all(
        np.array_equal(arrays.get(name), others.get(name)) for name in ("labels", "gallery_labels")
    )


def _is_among(arrays, others):
    return any(np.array_equal(arrays["embeddings"], other["embeddings"]) for other in others)


def _find_images(record, benchmark, labels):
    """Returns the data set with the embedded images, or `None` and the reason."""
    if benchmark is None:
        settings = next(iter(record.folders.values()))[0].settings()
        if settings is None:
            return None, "flags.txt does not have the settings of this version"
        if not _can_be_loaded(settings):
            return None, f"{settings.data_dir} no longer contains {settings.dataset}"
        try:
            benchmark = load_benchmark(settings)
        except ValueError as error:
            return None, str(error).splitlines()[0].rstrip(".")
    parts = (benchmark.test, benchmark.gallery)
    known = [part.labels for part in parts if part is not None]
    embedded = [each for each in labels if each is not None]
    if len(known) != len(embedded) or not all(map(np.array_equal, known, embedded)):
        return None, "the data set has changed since"
    return benchmark, None


def _can_be_loaded(settings):
    """Returns whether a data set can be loaded without a download."""
    if settings.dataset in DATASETS_IN_MEMORY:
        return True
    folder = absolute_path(settings.data_dir)
    return (folder if settings.dataset == "folder" else folder / settings.dataset).exists()


def _write_gallery(networks, path):
    """Draws queries with their results by the methods, if there are images."""
    trained = [each for each in networks.retrievers if not each.name.endswith("before")]
    if not trained or networks.samples.load_images is None:
        return
    if np.isnan(trained[0].found.average_precision).all():
        return
    try:
        figure = draw_queries(trained, networks.samples)
    except (OSError, tf.errors.OpError):
        # The report says which image cannot be read.
        return
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


def _picture_sections(retrievers, samples):
    if samples.load_images is None:
        return []
    try:
        return [gallery_section(retrievers, samples), map_section(retrievers, samples)]
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        note = Note(f"There are no images in this report, because one cannot be read: {reason}")
        return [Section("Queries and their neighbours", [note])]
