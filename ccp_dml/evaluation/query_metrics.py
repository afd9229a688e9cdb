"""Metrics of single queries by name, as functions of their rankings."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ccp_dml.checks import list_first
from ccp_dml.evaluation.query_ranking import RankedQueries
from ccp_dml.evaluation.ranking import map_rows


class QueryMetric(NamedTuple):
    """How a metric is computed from a ranking.

    Attributes:
        compute: Function from `RankedQueries` to the values of the queries `(n,)`.
        depth: Least depth of the ranking. Defaults to 1.
        relevant_ranks: See `ccp_dml.evaluation.query_ranking.rank_in_blocks`. Defaults to
            `"none"`.
    """

    compute: Callable[[RankedQueries], np.ndarray]
    depth: int = 1
    relevant_ranks: str = "none"


def precision_at_1(ranked: RankedQueries) -> np.ndarray:
    """Whether the nearest sample of each query is of its class `(n,)`."""
    return ranked.correct[:, 0]


def recall_at(ranked: RankedQueries, k: int) -> np.ndarray:
    """Whether any of the k nearest of each query is of its class `(n,)`."""
    return np.logical_or.reduce(ranked.correct[:, :k], axis=1)


def r_precision(ranked: RankedQueries) -> np.ndarray:
    """The fraction of the R nearest of each query that is of its class `(n,)`."""
    counts = map_rows(
        lambda rows: np.count_nonzero(
            _within(ranked.correct[rows], ranked.num_relevant[rows]), axis=1
        ),
        *ranked.correct.shape,
    )
    return np.concatenate(counts) / ranked.num_relevant


def average_precision_at_r(ranked: RankedQueries) -> np.ndarray:
    """Average precision at R, whose mean is MAP@R `(n,)`."""
    return _average_precision(ranked.correct, ranked.num_relevant, ranked.num_relevant)


def average_precision_at(ranked: RankedQueries, k: int) -> np.ndarray:
    """Average precision at k, whose mean is MAP@k `(n,)`."""
    depths = np.full_like(ranked.num_relevant, k)
    return _average_precision(ranked.correct[:, :k], depths, np.minimum(ranked.num_relevant, k))


def average_precision(ranked: RankedQueries) -> np.ndarray:
    """Average precision over the whole ranking, whose mean is MAP `(n,)`."""
    ranks = ranked.relevant_ranks
    if ranks is None:
        depths = np.full_like(ranked.num_relevant, ranked.correct.shape[1])
        return _average_precision(ranked.correct, depths, ranked.num_relevant)
    precisions = np.arange(1, ranks.shape[1] + 1) / np.maximum(ranks, 1)
    return (precisions * (ranks > 0)).sum(axis=1) / ranked.num_relevant


def reciprocal_rank(ranked: RankedQueries) -> np.ndarray:
    """Reciprocal rank, whose mean is MRR `(n,)`."""
    if ranked.relevant_ranks is None:
        return 1 / (1 + ranked.correct.argmax(axis=1))
    return 1 / ranked.relevant_ranks[:, 0]


_METRICS = {
    "precision_at_1": QueryMetric(precision_at_1),
    "r_precision": QueryMetric(r_precision),
    "map_at_r": QueryMetric(average_precision_at_r),
    "map": QueryMetric(average_precision, relevant_ranks="all"),
    "mrr": QueryMetric(reciprocal_rank, relevant_ranks="first"),
}
_METRICS_AT_K = {"recall_at_<k>": recall_at, "map_at_<k>": average_precision_at}
QUERY_METRICS = (*_METRICS, *_METRICS_AT_K)
"""Names of the metrics; `<k>` stands for a number of neighbours."""


def find_metric(name: str) -> QueryMetric | None:
    """Finds a metric by name; `None` if there is none.

    Args:
        name: One of `QUERY_METRICS`, with a number for `<k>`.

    Example:

    >>> find_metric("recall_at_4").depth, find_metric("recall_at_0")
    (4, None)
    """
    if name in _METRICS:
        return _METRICS[name]
    match = re.fullmatch(r"(\w+_at_)([1-9][0-9]{0,8})", name)
    if match is None or f"{match[1]}<k>" not in _METRICS_AT_K:
        return None
    compute, k = _METRICS_AT_K[f"{match[1]}<k>"], int(match[2])
    return QueryMetric(lambda ranked: compute(ranked, k), depth=k)


def parse_metrics(names: Sequence[str]) -> dict[str, QueryMetric]:
    """Finds metrics by name.

    Args:
        names: See `find_metric`.

    Raises:
        ValueError: If a name is unknown; the message lists the known ones.
    """
    found = {name: metric for name in names if (metric := find_metric(name)) is not None}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(
            f"metrics must be among {', '.join(QUERY_METRICS)}; got {list_first(unknown, 3)}"
        )
    return found


def _average_precision(correct, depths, most_relevant):
    """Divides the sum of precisions at the ranks of relevant samples by `most_relevant`.

    Args:
        correct: Whether each neighbour is of the query's class, nearest first `(n, depth)`.
        depths: Number of neighbours that count `(n,)`.
        most_relevant: Largest possible number of relevant ones among them `(n,)`.
    """
    rank = np.arange(1, correct.shape[1] + 1)

    def average(rows):
        within = _within(correct[rows], depths[rows])
        precision = np.cumsum(within, axis=1, dtype="int32") / rank
        return (precision * within).sum(axis=1) / most_relevant[rows]

    return np.concatenate(map_rows(average, *correct.shape))


def _within(correct, depths):
    """Returns which neighbours are correct and count; see `_average_precision`."""
    return correct & (np.arange(correct.shape[1]) < depths[:, None])
