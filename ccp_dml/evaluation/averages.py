"""Averages of query metrics: by class, over classes, and with confidence intervals."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_fraction, check_whole_number
from ccp_dml.evaluation.class_labels import flatten_labels


class ClassMetrics(NamedTuple):
    """Metrics of each class.

    Attributes:
        classes: Labels of the classes with a query that has something to find, ascending `(C,)`.
        num_queries: Number of such queries of each class `(C,)`.
        metrics: The mean of each metric over these queries, float64 `(C,)` by name.
    """

    classes: np.ndarray
    num_queries: np.ndarray
    metrics: dict[str, np.ndarray]

    def macro_average(self) -> dict[str, float]:
        """Returns the mean of each metric over the classes, which all count equally."""
        return {name: float(np.mean(values)) for name, values in self.metrics.items()}


def metrics_by_class(values: Mapping[str, np.ndarray], labels: np.ndarray) -> ClassMetrics:
    """Averages the metrics of queries within each class.

    Args:
        values: `(n,)` by name, as `ccp_dml.evaluation.metrics_by_query` returns them. Queries
            without a value, NaN, are left out.
        labels: Classes of the queries `(n,)` or `(n, 1)`.

    Raises:
        ValueError: If shapes do not fit, or no query has a value.

    Example:

    >>> by_class = metrics_by_class({"mrr": np.array([1.0, 0.5, 0.25])}, np.array([7, 7, 3]))
    >>> by_class.classes.tolist(), by_class.metrics["mrr"].tolist(), by_class.macro_average()
    ([3, 7], [0.25, 0.75], {'mrr': 0.5})
    """
    measured, matrix = _stack(values)
    labels = flatten_labels(labels)
    if labels.shape != measured.shape:
        raise ValueError(
            f"labels must be ({measured.size},) like the values of the queries; got {labels.shape}"
        )
    classes, members, counts = np.unique(labels[measured], return_inverse=True, return_counts=True)
    means = [np.bincount(members, column) / counts for column in matrix.T]
    return ClassMetrics(classes, counts, dict(zip(values, means, strict=True)))


def bootstrap_intervals(
    values: Mapping[str, np.ndarray], level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Computes confidence intervals of means over queries by the percentile bootstrap.

    All n queries are resampled with replacement many times; the interval lies between the quantiles
    (1 ∓ level) / 2 of the means (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    section 13.3). It measures how much a mean depends on the choice of queries, for these classes
    and this network; it does not cover other seeds of the training. All metrics use the same
    resamples, and nothing is ranked again.

    Args:
        values: `(n,)` by name, as `ccp_dml.evaluation.metrics_by_query` returns them. Queries
            without a value, NaN, are left out.
        level: Confidence level of the interval. Defaults to 0.95.
        resamples: Number of resamples. Defaults to 1,000.
        seed: Seed of the resampling. Defaults to 0.

    Returns:
        The lower and the upper end by name.

    Raises:
        ValueError: If the level is not between 0 and 1, `resamples` is not positive, shapes do not
            fit, or no query has a value.

    Example:

    >>> bootstrap_intervals({"mrr": np.array([0.5, 0.5, 0.5])})
    {'mrr': (0.5, 0.5)}
    """
    check_fraction("level", level)
    resamples = check_whole_number("resamples", resamples, least=1)
    _, matrix = _stack(values)
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, matrix.shape[1]))
    for resample in range(resamples):
        drawn = generator.integers(len(matrix), size=len(matrix))
        means[resample] = np.bincount(drawn, minlength=len(matrix)) @ matrix / len(matrix)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return dict(zip(values, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def _stack(values):
    """Returns which queries have values `(n,)`, and these values `(queries, metrics)`."""
    if not values:
        raise ValueError("there are no metrics to average")
    columns = [np.asarray(each, "float64") for each in values.values()]
    shapes = {column.shape for column in columns}
    if len(shapes) > 1 or columns[0].ndim != 1:
        raise ValueError(
            f"values must be (n,), with the same n for each metric; got {sorted(shapes)}"
        )
    matrix = np.stack(columns, axis=1)
    measured = ~np.isnan(matrix).any(axis=1)
    if not measured.any():
        raise ValueError("no query has a value: there is nothing to average")
    return measured, matrix[measured]
