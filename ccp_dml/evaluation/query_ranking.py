"""Each query's ranking of the gallery, from which all retrieval metrics are computed."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ccp_dml.evaluation import neighbors
from ccp_dml.evaluation.class_labels import flatten_labels
from ccp_dml.evaluation.neighbors import (
    NeighborSearch,
    check_gallery_indices,
    check_vectors,
    match_queries,
)
from ccp_dml.evaluation.ranking import find_ranks, map_rows

# Ranks of up to this many relevant samples of a query are counted; with more, sorting the whole
# ranking takes no longer.
_MAX_COUNTED = 100


class MatchedLabels(NamedTuple):
    """Queries and a gallery with labels that index the same classes."""

    queries: np.ndarray
    labels: np.ndarray
    gallery: np.ndarray
    gallery_labels: np.ndarray
    gallery_indices: np.ndarray
    num_relevant: np.ndarray


class RankedQueries(NamedTuple):
    """The ranking of the gallery for some queries, all of which have something to find.

    Attributes:
        rows: Rows of these queries `(n,)`.
        found: Rows of the gallery, nearest first `(n, depth)`.
        correct: Whether these are of the query's class `(n, depth)`.
        num_relevant: Number of samples of the query's class in the gallery `(n,)`, at most `depth`.
        relevant_ranks: Their ranks in the whole gallery, from 1 and ascending, int32 `(n, r)`,
            padded with 0; `None` if they were not requested, or if `found` is the whole gallery.
    """

    rows: np.ndarray
    found: np.ndarray
    correct: np.ndarray
    num_relevant: np.ndarray
    relevant_ranks: np.ndarray | None


def match_labels(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None,
    gallery_labels: np.ndarray | None,
    gallery_indices: np.ndarray | None,
) -> MatchedLabels:
    """Checks queries and gallery; see `ccp_dml.evaluation.retrieval_metrics`."""
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
    labels, gallery_labels, num_relevant = _index_classes(labels, gallery_labels)
    num_relevant = num_relevant - (gallery_indices >= 0)
    return MatchedLabels(queries, labels, gallery, gallery_labels, gallery_indices, num_relevant)


def rank_in_blocks(
    data: MatchedLabels, least_depth: int, relevant_ranks: str = "none"
) -> Iterator[RankedQueries]:
    """Ranks the gallery for the queries that have something to find, as deep as necessary.

    Args:
        data: Queries and gallery.
        least_depth: Least depth of the rankings.
        relevant_ranks: Which relevant samples to find the ranks of in the whole gallery: `"all"`,
            the `"first"`, or `"none"` (default).

    Raises:
        ValueError: If no query has something to find.
    """
    num_relevant, in_gallery = data.num_relevant, data.gallery_indices >= 0
    # Queries with similar numbers of relevant samples share a block, because a block is ranked as
    # deep as its most demanding query needs.
    order = np.argsort(num_relevant, kind="stable")
    order = order[num_relevant[order] > 0]
    if not order.size:
        raise ValueError(
            "no query has a sample of its class to retrieve: there is nothing to measure"
        )

    index = NeighborSearch(data.gallery)
    members = _ClassMembers(data.gallery_labels)
    # Separate, because a query that is part of the gallery has one sample fewer to find.
    for queue, own in (
        (order[in_gallery[order]], data.gallery_indices),
        (order[~in_gallery[order]], None),
    ):
        start = 0
        while start < queue.size:
            block = queue[start : start + index.block_size]
            most = num_relevant[block[-1]]
            is_whole = relevant_ranks == "all" and most > _MAX_COUNTED
            depth = index.size if is_whole else min(max(most, least_depth), index.size)
            # For deep rankings, the result is as large as the scores.
            block = block[: max(1, neighbors.BLOCK_BYTES // (neighbors.BYTES_PER_NEIGHBOR * depth))]
            block_own = None if own is None else own[block]
            scores = index.score(data.queries[block])
            found = index.nearest_by_scores(scores, depth, block_own)
            correct = _are_correct(found, data.gallery_labels, data.labels[block])
            ranks = None
            if relevant_ranks != "none" and not is_whole:
                scores = np.asarray(scores)[:, : index.size]
                relevant = members.list_relevant(data.labels[block], block_own)
                if relevant_ranks == "first":
                    relevant = _nearest_columns(scores, relevant)
                ranks = _sort_ranks(find_ranks(scores, relevant, block_own))
            yield RankedQueries(block, found, correct, num_relevant[block], ranks)
            start += len(block)


class _ClassMembers:
    """The rows of a gallery by class."""

    def __init__(self, gallery_labels):
        self.rows = np.argsort(gallery_labels, kind="stable")
        self.sizes = np.bincount(gallery_labels)
        self.starts = np.cumsum(self.sizes) - self.sizes

    def list_relevant(self, labels, own):
        """Lists the other rows of each query's class, ascending `(n, r)`, padded with −1."""
        places = np.arange(self.sizes[labels].max())
        is_member = places < self.sizes[labels, None]
        relevant = self.rows[np.minimum(self.starts[labels, None] + places, len(self.rows) - 1)]
        if own is None:
            return np.where(is_member, relevant, -1)
        is_member &= relevant != own[:, None]
        # Each query has one row fewer, so that the last column is free once the others have moved
        # up.
        order = np.argsort(~is_member, axis=1, kind="stable")
        relevant = np.where(is_member, relevant, -1)
        return np.take_along_axis(relevant, order, 1)[:, : max(1, places.size - 1)]


def _nearest_columns(scores, columns):
    """Finds the column with the largest score of each row `(n, 1)`; in a tie, the first."""
    values = np.where(columns < 0, -np.inf, np.take_along_axis(scores, columns, 1))
    return np.take_along_axis(columns, values.argmax(axis=1)[:, None], 1)


def _sort_ranks(ranks):
    """Sorts the ranks of each row ascending, with 0 last."""
    largest = np.iinfo(ranks.dtype).max
    ranks = np.sort(np.where(ranks == 0, largest, ranks), axis=1)
    return np.where(ranks == largest, 0, ranks)


def _check_embeddings(embeddings, labels, prefix):
    embeddings, labels = np.asarray(embeddings), flatten_labels(labels)
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


def _index_classes(labels, gallery_labels):
    """Returns labels as indices of the gallery's classes (−1 for none), and the class sizes."""
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
    """Returns whether what was found for each query is of its class `(n, depth)`."""
    correct = np.empty(found.shape, bool)

    def compare(rows):
        correct[rows] = gallery_labels[found[rows]] == labels[rows, None]

    map_rows(compare, *found.shape)
    return correct
