"""Retrieval metrics: P@1, R-precision, MAP@R, MAP, MRR, MAP@k and recall@k."""

import numbers
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_whole_number
from ccp_dml.evaluation.query_metrics import average_precision_at_r, parse_metrics
from ccp_dml.evaluation.query_ranking import match_labels, rank_in_blocks

_ALWAYS = ("precision_at_1", "r_precision", "map_at_r")


def retrieval_metrics(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    recall_at: tuple[int, ...] = (1, 2, 4, 8),
    gallery_indices: np.ndarray | None = None,
    metrics: Sequence[str] = (),
) -> dict[str, float]:
    """Measures how many of the nearest neighbours of a query are of its class.

    Let R be the number of samples of the query's class in the gallery. P@1 is 1 if the nearest
    sample is of that class and 0 otherwise; R-precision is the fraction of the R nearest that are;
    MAP@R (Musgrave et al., ECCV 2020) is `1/R Σ_{j ≤ R} P@j · [the j-th is of the class]`; recall@k
    is 1 if any of the k nearest is. All are averaged over the queries with R > 0; other queries are
    ignored. Further `metrics` can be computed from the same ranking; see
    `ccp_dml.evaluation.metrics_by_query`.

    Neighbours are ranked by the Euclidean distance of the vectors as given. Distances are computed
    in blocks: besides the embeddings and one copy of the gallery, memory is bounded.

    Args:
        embeddings: The queries `(n, d)`; computed in float32, or in float64 if they are float64 or
            float32 cannot square them.
        labels: Their classes `(n,)` or `(n, 1)`.
        gallery_embeddings: The embeddings that the queries are compared with `(m, d)`. Defaults to
            `None`: every query is compared with all others.
        gallery_labels: Their classes `(m,)` or `(m, 1)`, required with `gallery_embeddings`.
        recall_at: The values of k for recall@k. Defaults to `(1, 2, 4, 8)`.
        gallery_indices: For queries that are part of the gallery, which row each of them is `(n,)`,
            −1 if none. A query is not compared with its own row. Defaults to `None`: no query is
            part of `gallery_embeddings`.
        metrics: Names of further metrics, such as `("map", "mrr", "map_at_10")`. Defaults to none.

    Returns:
        `precision_at_1`, `r_precision`, `map_at_r`, `recall_at_1` and so on, and the further
        metrics, between 0 and 1.

    Raises:
        ValueError: If shapes do not fit, there are no embeddings, a value is not finite or not
            below 1e15, a nonzero vector of the gallery has no coordinate of at least 1e-250 in
            magnitude, a k is not a positive integer, a metric is unknown, an index is out of range
            or refers to a row whose class differs from the query's, or no query has another sample
            of its class.

    Example:

    >>> embeddings = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> retrieval_metrics(embeddings, np.array([0, 0, 1, 1]), recall_at=(2,), metrics=("map_at_3",))
    {'precision_at_1': 0.5, 'r_precision': 0.5, 'map_at_r': 0.5, 'recall_at_2': 0.75,
    'map_at_3': 0.7083333333333333}
    """
    if not all(isinstance(k, numbers.Integral) and k >= 1 for k in tuple(recall_at)):
        raise ValueError(f"recall_at must hold integers of at least 1; got {recall_at}")
    names = (*_ALWAYS, *(f"recall_at_{k}" for k in recall_at), *metrics)
    values = metrics_by_query(
        embeddings, labels, gallery_embeddings, gallery_labels, names, gallery_indices
    )
    return {name: float(np.nanmean(query_values)) for name, query_values in values.items()}


def metrics_by_query(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    metrics: Sequence[str] = _ALWAYS,
    gallery_indices: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Computes retrieval metrics of each query, all from one ranking of the gallery.

    With R relevant samples, those of the query's class, at the ranks r₁ < r₂ < … < r_R:

    - `precision_at_1`, `r_precision`, `map_at_r`, `recall_at_<k>`: see
      `ccp_dml.evaluation.retrieval_metrics`;
    - `map`, average precision over the whole ranking: `1/R Σ_j j / r_j` (Manning, Raghavan and
      Schütze, "Introduction to Information Retrieval", 2008, section 8.4);
    - `map_at_<k>`, the same over the k nearest: `1/min(k, R) Σ_{r_j ≤ k} j / r_j`;
    - `mrr`, reciprocal rank (Voorhees, TREC-8, 1999): `1 / r₁`.

    `retrieval_metrics` returns their means over the queries. For means by class and confidence
    intervals, see `ccp_dml.evaluation.metrics_by_class` and
    `ccp_dml.evaluation.bootstrap_intervals`.

    Args:
        embeddings: See `retrieval_metrics`.
        labels: See `retrieval_metrics`.
        gallery_embeddings: See `retrieval_metrics`.
        gallery_labels: See `retrieval_metrics`.
        metrics: Names of the metrics. Defaults to the first three.
        gallery_indices: See `retrieval_metrics`.

    Returns:
        float64 `(n,)` by name; NaN for a query without a sample of its class in the gallery.

    Raises:
        ValueError: See `retrieval_metrics`.

    Example:

    >>> embeddings = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> metrics_by_query(embeddings, np.array([0, 0, 1, 1]), metrics=("r_precision", "map_at_2"))
    {'r_precision': array([1., 0., 0., 1.]), 'map_at_2': array([1. , 0.5, 0. , 1. ])}
    """
    parsed = parse_metrics(metrics)
    data = match_labels(embeddings, labels, gallery_embeddings, gallery_labels, gallery_indices)
    wanted = {each.relevant_ranks for each in parsed.values()}
    ranks = next((each for each in ("all", "first") if each in wanted), "none")
    depth = max((each.depth for each in parsed.values()), default=1)
    values = {name: np.full(len(data.queries), np.nan) for name in parsed}
    for block in rank_in_blocks(data, depth, ranks):
        for name, metric in parsed.items():
            values[name][block.rows] = metric.compute(block)
    return values


class QueryRetrieval(NamedTuple):
    """The result for each query.

    Attributes:
        average_precision: Average precision at R, whose mean is MAP@R, float64 `(n,)`; NaN for a
            query without a sample of its class in the gallery.
        nearest: Rows of the gallery, nearest first, int32 `(n, k)`; −1 for such a query, and where
            the gallery has too few samples.
    """

    average_precision: np.ndarray
    nearest: np.ndarray


def retrieval_by_query(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    k: int = 10,
) -> QueryRetrieval:
    """Finds the nearest neighbours of each query, and its average precision.

    Args:
        embeddings: See `retrieval_metrics`.
        labels: See `retrieval_metrics`.
        gallery_embeddings: See `retrieval_metrics`.
        gallery_labels: See `retrieval_metrics`.
        k: Number of neighbours to find. Defaults to 10.

    Raises:
        ValueError: See `retrieval_metrics`; or if `k` is not a positive integer.

    Example:

    >>> embeddings = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> found = retrieval_by_query(embeddings, np.array([0, 0, 1, 1]), k=2)
    >>> found.average_precision.tolist(), found.nearest.tolist()
    ([1.0, 0.0, 0.0, 1.0], [[1, 2], [2, 0], [1, 0], [2, 1]])
    """
    check_whole_number("k", k, least=1)
    data = match_labels(embeddings, labels, gallery_embeddings, gallery_labels, None)
    average_precision = np.full(len(data.queries), np.nan)
    nearest = np.full((len(data.queries), k), -1, "int32")
    for block in rank_in_blocks(data, k):
        average_precision[block.rows] = average_precision_at_r(block)
        found = block.found[:, :k]
        nearest[block.rows, : found.shape[1]] = found
    return QueryRetrieval(average_precision, nearest)
