"""Measurement of metrics on the test classes, and their presentation."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.data import Benchmark
from ccp_dml.evaluation import (
    CLUSTERING_METRICS,
    ClassMetrics,
    bootstrap_intervals,
    choose_metrics,
    clustering_metrics,
    covering_radius,
    is_metric,
    metrics_by_class,
    metrics_by_query,
    verification_metrics,
)
from ccp_dml.experiment.settings import Settings

CLASS_FILE = "class_metrics.csv"

# Metrics in tables, with their titles.
COLUMNS = {
    "precision_at_1": "P@1",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "map": "MAP",
    "mrr": "MRR",
    "nmi": "NMI",
    "ami": "AMI",
    "pairwise_f1": "F1",
    "roc_auc": "ROC-AUC",
    "covering_radius": "covering radius",
}
_TITLES_WITH_NUMBERS = {
    r"map_at_(\d+)": "MAP@{}",
    r"recall_at_(\d+)": "recall@{}",
    r"tar_at_far_(.+)": "TAR@FAR {}",
}
_RECALL_AT = (1, 2, 4, 8)
_ALWAYS = ("precision_at_1", "r_precision", "map_at_r", *(f"recall_at_{k}" for k in _RECALL_AT))
LOW, HIGH = "_low", "_high"
"""Suffixes of the names of the ends of an interval."""


class Measurement(NamedTuple):
    """Metrics of embeddings.

    Attributes:
        metrics: Numbers by name; with `settings.bootstrap_resamples` also the ends of intervals,
            such as `map_at_r_low` and `map_at_r_high`.
        by_class: The retrieval metrics of each class.
    """

    metrics: dict[str, float]
    by_class: ClassMetrics


def measure(
    embeddings: Sequence[np.ndarray], benchmark: Benchmark, settings: Settings
) -> Measurement:
    """Measures retrieval, covering radius and whatever else the settings choose, from one ranking.

    Args:
        embeddings: What `ccp_dml.experiment.evaluation.embed_test` returned.
        benchmark: The data, for their classes.
        settings: `metrics` are measured in addition to the usual ones, `clustering` adds the
            agreement of clusters and classes, `bootstrap_resamples` intervals; `proxies_per_class`
            is the number of centres of the covering radius.

    Raises:
        ValueError: If there is nothing to measure; see `ccp_dml.evaluation`.
    """
    parts = [part for part in (benchmark.test, benchmark.gallery) if part is not None]
    labels = [part.labels for part in parts]
    names = settings.metrics
    if settings.clustering:
        names = tuple(dict.fromkeys((*names, *CLUSTERING_METRICS)))
    metrics, by_query = measure_chosen(embeddings, labels, names, settings.seed)
    radii = covering_radius(
        np.concatenate(embeddings),
        np.concatenate(labels),
        num_centers=settings.proxies_per_class,
    )
    metrics["covering_radius"] = float(radii[:, -1].mean())
    if settings.bootstrap_resamples:
        intervals = bootstrap_intervals(
            {name: values for name, values in by_query.items() if name in metrics},
            resamples=settings.bootstrap_resamples,
            seed=settings.seed,
        )
        for name, ends in intervals.items():
            metrics |= zip((name + LOW, name + HIGH), ends, strict=True)
    return Measurement(metrics, metrics_by_class(by_query, labels[0]))


def measure_chosen(
    embeddings: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    names: Sequence[str] = (),
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measures the usual retrieval metrics and chosen ones, from one ranking.

    Args:
        embeddings: Embeddings of the queries `(n, d)` and, if there is one, of the gallery `(m,
            d)`.
        labels: Their classes.
        names: The metrics; see `ccp_dml.evaluation.choose_metrics`. Defaults to none.
        seed: Seed of the clusters, and of the pairs that verification draws. Defaults to 0.

    Returns:
        Numbers by name, and the values of each query by the name of the metric.

    Raises:
        ValueError: If there is nothing to measure; see `ccp_dml.evaluation`.
    """
    chosen = choose_metrics(names)
    pairs = [each for part in zip(embeddings, labels, strict=True) for each in part]
    wanted = tuple(dict.fromkeys((*_ALWAYS, *chosen.retrieval, *chosen.macro)))
    by_query = metrics_by_query(*pairs, metrics=wanted)
    shown = (*_ALWAYS, *(name for name in chosen.retrieval if name not in _ALWAYS))
    metrics = {name: float(np.nanmean(by_query[name])) for name in shown}
    macro = metrics_by_class(by_query, labels[0]).macro_average()
    metrics |= {f"macro_{name}": macro[name] for name in chosen.macro}
    if chosen.verification:
        metrics |= verification_metrics(*pairs, metrics=chosen.verification, seed=seed)
    if chosen.clustering:
        metrics |= clustering_metrics(np.concatenate(embeddings), np.concatenate(labels), seed)
    return metrics, by_query


def find_chosen(names: Iterable[str]) -> list[str]:
    """Returns the names of metrics that are only measured if they are chosen.

    Args:
        names: Names of metrics and of other things, such as the columns of a table.

    Example:

    >>> find_chosen(["seconds", "map_at_r", "map_at_r_low", "mrr", "nmi"])
    ['mrr', 'nmi']
    """
    return [name for name in names if is_metric(name) and name not in _ALWAYS]


def metric_titles(rows: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Returns titles of the metrics of a table, by name.

    Args:
        rows: The metrics of each row. The usual recall@k are not shown.

    Example:

    >>> metric_titles({"plain": {"map_at_r": 0.2, "macro_map_at_10": 0.3, "steps": 7}})
    {'map_at_r': 'MAP@R', 'macro_map_at_10': 'macro MAP@10'}
    """
    present = list(dict.fromkeys(name for row in rows.values() for name in row))
    titles = {name: title for name in COLUMNS if (title := _title(name)) and name in present}
    others = {name: _title(name) for name in present if name not in (*COLUMNS, *_ALWAYS)}
    return titles | {name: title for name, title in others.items() if title}


def _title(name):
    if name in COLUMNS:
        return COLUMNS[name]
    if name.endswith((LOW, HIGH)):
        return None
    if name.startswith("macro_"):
        title = _title(name.removeprefix("macro_"))
        return title and f"macro {title}"
    for pattern, title in _TITLES_WITH_NUMBERS.items():
        if match := re.fullmatch(pattern, name):
            return title.format(match[1])
    return None


def interval_rows(rows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, str]]:
    """Formats the intervals of metrics, for the rows that have some.

    Args:
        rows: The metrics of each row.

    Example:

    >>> interval_rows({"plain": {"mrr": 0.5, "mrr_low": 0.45, "mrr_high": 0.551}, "mean": {}})
    {'plain': {'mrr': '0.4500 to 0.5510'}}
    """
    texts = {
        row: {
            name: f"{metrics[name + LOW]:.4f} to {metrics[name + HIGH]:.4f}"
            for name in metrics
            if name + LOW in metrics
        }
        for row, metrics in rows.items()
    }
    return {row: intervals for row, intervals in texts.items() if intervals}


def write_class_metrics(
    path: str | os.PathLike,
    by_class: Mapping[str, ClassMetrics],
    class_names: Sequence[str] | None = None,
):
    """Writes the metrics of each class to a CSV file, atomically.

    Its columns are `network`, `class`, `queries` (how many have something to find) and the metrics.

    Args:
        path: The file.
        by_class: The classes of each network or method.
        class_names: A name for each label. Defaults to `None`: the labels.

    Raises:
        OSError: If the file cannot be written.
    """
    frames = []
    for network, measured in by_class.items():
        names = measured.classes.tolist()
        if class_names is not None:
            names = [class_names[label] for label in names]
        head = {"network": network, "class": names, "queries": measured.num_queries}
        frames.append(pd.DataFrame(head | measured.metrics))
    with atomic_write(epath.Path(path)) as unfinished:
        unfinished.write_text(pd.concat(frames).to_csv(index=False, lineterminator="\n"))
