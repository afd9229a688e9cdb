"""Retrieval metrics: P@1, R-precision, MAP@R, recall@k."""

import numbers
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ccp_dml.checks import check_whole_number
from ccp_dml.evaluation import neighbors
from ccp_dml.evaluation.neighbors import (
    NeighborSearch,
    check_gallery_indices,
    check_vectors,
    match_queries,
)
from ccp_dml.evaluation.ranking import map_rows


def retrieval_metrics(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    recall_at: tuple[int, ...] = (1, 2, 4, 8),
    gallery_indices: np.ndarray | None = None,
) -> dict[str, float]:
    """Measures how many of the nearest neighbours of a query are of its class.

    Let R be the number of samples of the query's class in the gallery. P@1 is whether the nearest
    sample is of that class; R-precision the fraction of the R nearest that are; MAP@R (Musgrave et
    al., ECCV 2020) is `1/R Σ_{j ≤ R} P@j · [the j-th is of the class]`; recall@k is whether any of
    the k nearest is. All are means over the queries with R > 0; the others are left out.

    Neighbours are ranked by the Euclidean distance of the vectors as given. Distances are computed
    in blocks: beside the embeddings and one copy of the gallery, memory is bounded.

    Args:
        embeddings: The queries `(n, d)`; computed in float32, or in float64 if they are float64 or
            float32 cannot square them.
        labels: Their classes `(n,)`.
        gallery_embeddings: What the queries are compared with `(m, d)`. Defaults to `None`: every
            query is compared with all others.
        gallery_labels: Their classes `(m,)`, required with `gallery_embeddings`.
        recall_at: The k of recall@k. Defaults to `(1, 2, 4, 8)`.
        gallery_indices: For queries that are part of the gallery, which row each of them is `(n,)`,
            −1 if none. A query is not compared with its own row. Defaults to `None`: no query is
            part of `gallery_embeddings`.

    Returns:
        `precision_at_1`, `r_precision`, `map_at_r`, and `recall_at_1` and so on, between 0 and 1.

    Raises:
        ValueError: If shapes do not fit, there are no embeddings, a value is not finite or not
            below 1e15, a vector of the gallery is neither 0 nor has a coordinate of at least
            1e-250, a k is not a positive integer, an index is out of range or its row of another
            class than the query, or no query has another sample of its class.

    Example:

    >>> embeddings = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> retrieval_metrics(embeddings, np.array([0, 0, 1, 1]), recall_at=(2,))
    {'precision_at_1': 0.5, 'r_precision': 0.5, 'map_at_r': 0.5, 'recall_at_2': 0.75}
    """
    data = _match(embeddings, labels, gallery_embeddings, gallery_labels, gallery_indices)
    if not all(isinstance(k, numbers.Integral) and k >= 1 for k in tuple(recall_at)):
        raise ValueError(f"recall_at must hold integers of at least 1; got {recall_at}")
    count, totals = 0, np.zeros(3 + len(recall_at))
    for block in _rank_in_blocks(data, max((1, *recall_at))):
        totals += _sum_metrics(block.correct, block.num_relevant, recall_at)
        count += len(block.rows)
    names = ["precision_at_1", "r_precision", "map_at_r", *(f"recall_at_{k}" for k in recall_at)]
    return dict(zip(names, (totals / count).tolist(), strict=True))


class QueryRetrieval(NamedTuple):
    """What was found for each query.

    Attributes:
        average_precision: What MAP@R is the mean of, float64 `(n,)`; NaN for a query of which the
            gallery has no sample of its class.
        nearest: Rows of the gallery, nearest first, int32 `(n, k)`; −1 for such a query, and where
            the gallery has fewer samples to find.
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
    """Finds the nearest neighbours of each query, and how well the query does.

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
    data = _match(embeddings, labels, gallery_embeddings, gallery_labels, None)
    average_precision = np.full(len(data.queries), np.nan)
    nearest = np.full((len(data.queries), k), -1, "int32")
    for block in _rank_in_blocks(data, k):
        average_precision[block.rows] = _average_precision(block.correct, block.num_relevant)
        found = block.found[:, :k]
        nearest[block.rows, : found.shape[1]] = found
    return QueryRetrieval(average_precision, nearest)


class _Matched(NamedTuple):
    """Queries and a gallery with labels that index the same classes."""

    queries: np.ndarray
    labels: np.ndarray
    gallery: np.ndarray
    gallery_labels: np.ndarray
    gallery_indices: np.ndarray
    num_relevant: np.ndarray


class _Block(NamedTuple):
    """What was found for some queries, all of which have something to find.

    Attributes:
        rows: Which queries they are `(n,)`.
        found: Rows of the gallery, nearest first `(n, depth)`.
        correct: Whether these are of the query's class `(n, depth)`.
        num_relevant: How many of the gallery are `(n,)`, at most `depth`.
    """

    rows: np.ndarray
    found: np.ndarray
    correct: np.ndarray
    num_relevant: np.ndarray


def _match(embeddings, labels, gallery_embeddings, gallery_labels, gallery_indices):
    queries, labels = _check_embeddings(embeddings, labels, "")
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise ValueError("gallery_embeddings and gallery_labels must be given together")
    if gallery_embeddings is None:
        if gallery_indices is not None:
            raise ValueError("gallery_indices must be given together with gallery_embeddings")
        gallery, gallery_labels = queries, labels
        gallery_indices = np.arange(len(queries))
    else:
        gallery, gallery_labels = _check_embeddings(gallery_embeddings, gallery_labels, "gallery_")
        queries, gallery = match_queries(queries, gallery)
        gallery_indices = _check_own_rows(gallery_indices, labels, gallery_labels)
    labels, gallery_labels, num_relevant = _match_labels(labels, gallery_labels)
    num_relevant = num_relevant - (gallery_indices >= 0)
    return _Matched(queries, labels, gallery, gallery_labels, gallery_indices, num_relevant)


def _rank_in_blocks(data: _Matched, least_depth: int) -> Iterator[_Block]:
    """Ranks the gallery for the queries that have something to find, as deep as that is.

    Args:
        data: Queries and gallery.
        least_depth: How deep at least.

    Raises:
        ValueError: If no query has something to find.
    """
    num_relevant, in_gallery = data.num_relevant, data.gallery_indices >= 0
    # Queries with like numbers of relevant samples share a block, because a block looks as deep as
    # its most demanding query.
    order = np.argsort(num_relevant, kind="stable")
    order = order[num_relevant[order] > 0]
    if not order.size:
        raise ValueError(
            "no query has a sample of its class to be found: there is nothing to measure"
        )

    index = NeighborSearch(data.gallery)
    # Apart, because a query that is part of the gallery has one sample less to find.
    for queue, own in (
        (order[in_gallery[order]], data.gallery_indices),
        (order[~in_gallery[order]], None),
    ):
        start = 0
        while start < queue.size:
            block = queue[start : start + index.block_size]
            depth = max(num_relevant[block[-1]], least_depth)
            # Where queries look deep, what is found is as large as the scores.
            block = block[: max(1, neighbors.BLOCK_BYTES // (neighbors.BYTES_PER_NEIGHBOR * depth))]
            found = index.nearest(data.queries[block], depth, None if own is None else own[block])
            correct = _are_correct(found, data.gallery_labels, data.labels[block])
            yield _Block(block, found, correct, num_relevant[block])
            start += len(block)


def _check_embeddings(embeddings, labels, prefix):
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"{prefix}embeddings must be (n, d) and {prefix}labels (n,); got {embeddings.shape} "
            f"and {labels.shape}"
        )
    return check_vectors(f"{prefix}embeddings", embeddings), labels


def _check_own_rows(gallery_indices, labels, gallery_labels):
    if gallery_indices is None:
        return np.full(len(labels), -1)
    indices = check_gallery_indices(gallery_indices, len(labels), len(gallery_labels))
    contradictions = np.flatnonzero((indices >= 0) & (gallery_labels[indices] != labels))
    if contradictions.size:
        query = contradictions[0]
        raise ValueError(
            f"query {query} of class {labels[query]} cannot be row {indices[query]} of the gallery,"
            f" which is of class {gallery_labels[indices[query]]}"
        )
    return indices


def _match_labels(labels, gallery_labels):
    """Labels as indices into the gallery's classes (−1 for none), and those classes' sizes."""
    classes, gallery_labels, sizes = np.unique(
        gallery_labels, return_inverse=True, return_counts=True
    )
    position = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    known = classes[position] == labels
    return (
        np.where(known, position, -1).astype("int32"),
        gallery_labels.astype("int32"),
        np.where(known, sizes[position], 0),
    )


def _are_correct(found, gallery_labels, labels):
    """Whether what was found for each query `(n, depth)` is of its class."""
    correct = np.empty(found.shape, bool)

    def compare(rows):
        correct[rows] = gallery_labels[found[rows]] == labels[rows, None]

    map_rows(compare, *found.shape)
    return correct


def _sum_metrics(correct, num_relevant, recall_at):
    """Sums the metrics of queries.

    Args:
        correct: Whether a neighbour is of the query's class, nearest first `(n, depth)`.
        num_relevant: R `(n,)`, at most `depth`.
        recall_at: The k of recall@k.

    Returns:
        `(3 + len(recall_at),)`.
    """
    within = _count_correct(correct, num_relevant)
    return np.array(
        [
            correct[:, 0].sum(),
            (within / num_relevant).sum(),
            _average_precision(correct, num_relevant).sum(),
            *(correct[:, :k].any(axis=1).sum() for k in recall_at),
        ],
        "float64",
    )


def _count_correct(correct, num_relevant):
    """How many of the R nearest of each query are of its class `(n,)`; see `_sum_metrics`."""
    counts = map_rows(
        lambda rows: np.count_nonzero(_within(correct[rows], num_relevant[rows]), axis=1),
        *correct.shape,
    )
    return np.concatenate(counts)


def _average_precision(correct, num_relevant):
    """MAP@R of each query `(n,)`; see `_sum_metrics`."""
    rank = np.arange(1, correct.shape[1] + 1)

    def average(rows):
        within = _within(correct[rows], num_relevant[rows])
        precision = np.cumsum(within, axis=1, dtype="int32") / rank
        return (precision * within).sum(axis=1) / num_relevant[rows]

    return np.concatenate(map_rows(average, *correct.shape))


def _within(correct, num_relevant):
    """Whether neighbours are correct and among the R nearest; see `_sum_metrics`."""
    return correct & (np.arange(correct.shape[1]) < num_relevant[:, None])
