"""Exact nearest neighbours by blocked matrix products."""

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_whole_number
from ccp_dml.evaluation.ranking import rank_columns

# A block of scores is the largest array in memory; two of this size, and little else, exist at a
# time.
BLOCK_BYTES = 256 * 2**20
BYTES_PER_NEIGHBOR = 32
# The columns of a block are first narrowed down by their maxima over groups of this many.
_GROUP = 64
# With fewer groups than this for each neighbour, all columns are ranked.
_GROUPS_PER_NEIGHBOR = 4
# Squares of larger values would not fit into float32.
_LARGEST = 1e15
# Squares of smaller values lose digits: they are computed in float64, after an exact multiplication
# by a power of two.
_SMALLEST = {"float32": 2.0**-50, "float64": 2.0**-450}
_SCALE = 2.0**400
_DIFFERENCE_SCALE = 2.0**500
_SMALLEST_SCALED = 1e-250
# A shift to the mean leaves too few digits of vectors that are smaller than this fraction of it.
_SMALLEST_SHIFTED = {"float32": 2.0**-10, "float64": 2.0**-30}


def nearest_neighbors(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    gallery_indices: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest samples of a gallery for each query, by Euclidean distance.

    The search is exact and computed in blocks: besides the embeddings, one copy of the gallery and
    the result, memory is bounded.

    Args:
        queries: `(n, d)`; computed in float32, or in float64 if they are float64 or float32 cannot
            square them.
        gallery: The vectors to search `(m, d)`.
        k: Number of neighbours to find.
        gallery_indices: For queries that are part of the gallery, which row each of them is `(n,)`,
            −1 if none. That row is excluded. Defaults to `None`: no query is part of the gallery.

    Returns:
        Distances `(n, k)`, nearest first, and rows of the gallery int32 `(n, k)`; of equally
        distant samples the first in the gallery comes first.

    Raises:
        ValueError: If shapes do not fit, there are no embeddings, a value is not finite or not
            below 1e15, a nonzero vector of the gallery has no coordinate of at least 1e-250 in
            magnitude, an index is out of range, or k is not between 1 and the number of samples
            there are to find.

    Example:

    >>> distances, rows = nearest_neighbors(np.array([[1.0]]), np.array([[4.0], [0.0], [2.0]]), 2)
    >>> distances.tolist(), rows.tolist()
    ([[1.0, 1.0]], [[1, 2]])
    """
    queries, gallery = match_queries(
        check_vectors("queries", queries), check_vectors("gallery", gallery)
    )
    if gallery_indices is not None:
        gallery_indices = check_gallery_indices(gallery_indices, len(queries), len(gallery))
    return NeighborSearch(gallery).search(queries, k, gallery_indices)


def check_vectors(name: str, vectors: np.ndarray) -> np.ndarray:
    """Checks that vectors can be compared.

    Args:
        name: Their name, for the message.
        vectors: `(n, d)`.

    Returns:
        The vectors as float32, or as float64 if they are float64.

    Raises:
        ValueError: If they are not a matrix, there are none, or a value is not finite or not below
            1e15.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2:
        raise ValueError(f"{name} must be (n, d); got {vectors.shape}")
    if not vectors.size:
        raise ValueError(f"{name} are empty: {vectors.shape}")
    if vectors.dtype != "float64":
        vectors = vectors.astype("float32", copy=False)
    largest = np.maximum(vectors.max(), -vectors.min())
    if not largest < _LARGEST:
        raise ValueError(
            f"{name} must be finite and below {_LARGEST:g}; the largest is {largest}, the first "
            f"wrong one in row {_first_wrong_row(vectors)}"
        )
    return vectors


def _first_wrong_row(vectors):
    return next(row for row, vector in enumerate(vectors) if not np.abs(vector).max() < _LARGEST)


def match_queries(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Converts queries and gallery to the same dtype.

    Args:
        queries: `(n, d)`, float32 or float64.
        gallery: `(m, d)`, float32 or float64.

    Returns:
        Both in the more precise of their dtypes.

    Raises:
        ValueError: If they differ in size.
    """
    if gallery.shape[1] != queries.shape[1]:
        raise ValueError(
            f"queries of size {queries.shape[1]} cannot be compared with a gallery of size "
            f"{gallery.shape[1]}"
        )
    common = np.result_type(queries, gallery)
    return queries.astype(common, copy=False), gallery.astype(common, copy=False)


def check_gallery_indices(indices: np.ndarray, num_queries: int, size: int) -> np.ndarray:
    """Checks the rows of queries in a gallery.

    Args:
        indices: `(num_queries,)`, −1 for a query that is not part of the gallery.
        num_queries: Number of queries.
        size: Number of samples in the gallery.

    Returns:
        The indices as an array.

    Raises:
        ValueError: If they are not that many integers from −1 to `size − 1`.
    """
    indices = np.asarray(indices)
    if indices.shape != (num_queries,) or indices.dtype.kind not in "iu":
        raise ValueError(
            f"gallery_indices must be an integer for each of {num_queries} queries; got "
            f"{indices.dtype} {indices.shape}"
        )
    wrong = indices[(indices < -1) | (indices >= size)]
    if wrong.size:
        raise ValueError(
            f"gallery_indices must be from 0 to {size - 1}, or -1 for a query that is not part of "
            f"the gallery; got {wrong[0]}"
        )
    return indices


def distances_to_rows(queries: np.ndarray, gallery: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Computes the distances of queries from some rows of a gallery.

    They are computed from differences, so that they are precise for near and equal vectors.

    Args:
        queries: `(n, d)`.
        gallery: `(m, d)`, of the same dtype.
        rows: The rows for each query `(n, k)`.

    Returns:
        Euclidean distances `(n, k)`.
    """
    distances = np.empty(rows.shape, gallery.dtype)
    step = max(1, BLOCK_BYTES // (4 * rows.shape[1] * gallery.shape[1] * gallery.itemsize))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        differences = gallery[rows[block]] - queries[block, None]
        norms = np.linalg.vector_norm(differences, axis=2)
        is_small = norms < _SMALLEST[norms.dtype.name]
        if is_small.any():
            scaled = np.multiply(differences[is_small], _DIFFERENCE_SCALE, dtype="float64")
            norms[is_small] = np.linalg.vector_norm(scaled, axis=1) / _DIFFERENCE_SCALE
        distances[block] = norms
    return distances


def sort_by_distance(
    distances: np.ndarray, rows: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Selects the k nearest of the rows found for each query; in a tie, the first in the gallery.

    Args:
        distances: `(n, c)`.
        rows: `(n, c)`.
        k: At most c.

    Returns:
        Distances and rows `(n, k)`.
    """
    order = np.lexsort((rows, distances), axis=1)[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1)


class NeighborSearch:
    """Exact nearest-neighbour search by blocked matrix products.

    For a query q the samples g are ranked by `qᵀg − ‖g‖²/2`, which one product with an added
    coordinate gives. A gallery far from the origin is shifted to its mean first, which does not
    affect distances but reduces rounding errors.

    Vectors that float32 cannot square, or that are much smaller than such a mean, are ranked in
    float64, which takes twice the time and memory.

    Args:
        gallery: `(m, d)`, float32 or float64; it is copied.

    Raises:
        ValueError: If a nonzero vector has no coordinate of at least 1e-250 in magnitude.
    """

    def __init__(self, gallery):
        self.gallery = gallery
        self.size = len(gallery)
        dtype = gallery.dtype
        magnitudes = np.maximum(gallery.max(axis=1), -gallery.min(axis=1))
        smallest = magnitudes.min(where=magnitudes > 0, initial=np.inf)
        if smallest < _SMALLEST_SCALED:
            raise ValueError(
                f"vectors other than 0 must have a coordinate of at least {_SMALLEST_SCALED:g} in "
                f"magnitude; the largest of row {np.flatnonzero(magnitudes == smallest)[0]} is "
                f"{smallest:g}"
            )
        is_small = smallest < _SMALLEST[dtype.name]
        self.scale = _SCALE if is_small else 1.0
        mean = gallery.mean(axis=0, dtype="float64")
        is_mixed = smallest < _SMALLEST_SHIFTED[dtype.name] * np.abs(mean).max()
        if is_small or is_mixed:
            dtype = np.dtype("float64")
        mean = (mean * self.scale).astype(dtype)
        # Only embeddings far from the origin gain from a shift. Others are not shifted, which keeps
        # exact values exact and equal distances equal.
        is_far = np.square(mean).sum() > self._sum_squares(mean).mean()
        self.mean = mean if is_far and not is_mixed else np.zeros_like(mean)
        self.num_groups = -(-self.size // _GROUP)
        columns = np.zeros((gallery.shape[1] + 1, self.num_groups * _GROUP), dtype)
        np.multiply(gallery.T, self.scale, out=columns[:-1, : self.size], dtype=dtype)
        columns[:-1, : self.size] -= self.mean[:, None]
        columns[-1, : self.size] = -0.5 * self._sum_squares(self.mean)
        columns[-1, self.size :] = np.finfo(dtype).min / 2
        self.columns = tf.constant(columns)
        self.block_size = max(1, BLOCK_BYTES // (columns.shape[1] * columns.itemsize))

    def search(self, queries, k, own=None):
        """Finds neighbours in blocks, and their distances.

        Args:
            queries: `(n, d)`.
            k: Number of neighbours to find.
            own: Indices of the queries in the gallery `(n,)`, which are not to be found; −1 for
                none.

        Returns:
            Distances and indices `(n, k)`, nearest first.

        Raises:
            ValueError: If k is not between 1 and the number of samples there are to find.
        """
        k = check_whole_number("k", k, least=1, most=self.size - (own is not None))
        found = np.empty((len(queries), k), "int32")
        step = max(1, min(self.block_size, BLOCK_BYTES // (BYTES_PER_NEIGHBOR * k)))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            found[block] = self.nearest(queries[block], k, None if own is None else own[block])
        # Differences rank more precisely than products, which are rounded.
        return sort_by_distance(distances_to_rows(queries, self.gallery, found), found, k)

    def nearest(self, queries, depth, own=None):
        """Finds the nearest samples of the gallery.

        Args:
            queries: `(n, d)`.
            depth: Number of neighbours to find; fewer if the gallery is smaller.
            own: Indices of the queries in the gallery `(n,)`, which are not to be found; −1 for
                none.

        Returns:
            Indices `(n, depth)`, nearest first.
        """
        return self.nearest_by_scores(self.score(queries), depth, own)

    def score(self, queries):
        """Computes scores of the gallery: the nearer a sample is to a query, the larger its score.

        Args:
            queries: `(n, d)`, at most `block_size` of them if memory is to be bounded.

        Returns:
            A tensor `(n, m)`, whose columns from `size` on are padding with low scores.
        """
        queries = np.multiply(queries, self.scale, dtype=self.mean.dtype) - self.mean
        rows = np.concatenate([queries, np.ones_like(queries[:, :1])], axis=1)
        return tf.matmul(tf.constant(rows), self.columns)

    def nearest_by_scores(self, scores, depth, own=None):
        """Does the same as `nearest` with the scores that `score` returned for the queries."""
        depth = min(depth, self.size - (own is not None))
        if depth >= self.num_groups // _GROUPS_PER_NEIGHBOR:
            # Not .numpy(), which is a copy.
            return rank_columns(np.asarray(scores)[:, : self.size], depth, own)
        wanted = depth + (own is not None)
        found = _find_largest_scores(scores, self.num_groups, wanted).numpy()
        if own is None:
            return found
        # The query itself is dropped, or the last sample if equal vectors displaced the query.
        is_own = found == own[:, None]
        is_own[:, -1] |= ~is_own.any(axis=1)
        return found[~is_own].reshape(len(found), depth)

    def _sum_squares(self, center):
        """Computes squared distances of the scaled gallery from a point `(m,)`, in blocks."""
        vectors = self.gallery
        squares = np.empty(len(vectors), center.dtype)
        step = max(1, BLOCK_BYTES // (16 * vectors.shape[1] * vectors.itemsize))
        for start in range(0, len(vectors), step):
            scaled = np.multiply(vectors[start : start + step], self.scale, dtype=center.dtype)
            squares[start : start + step] = np.square(scaled - center).sum(axis=1)
        return squares


@tf.function(reduce_retracing=True)
def _find_largest_scores(scores, num_groups, count):
    """Finds the columns with the largest scores of each row.

    The largest scores lie in the groups of columns with the largest maxima, so that after one pass
    for the maxima only `count` groups of a row have to be searched.

    Args:
        scores: `(n, num_groups · _GROUP)`.
        num_groups: A Python integer.
        count: Number of columns to find, a Python integer.

    Returns:
        Indices int32 `(n, count)`, largest score first; of equal scores, the first column comes
        first.
    """
    grouped = tf.reshape(scores, [-1, num_groups, _GROUP])
    groups = tf.math.top_k(tf.reduce_max(grouped, axis=2), count).indices
    groups = tf.sort(groups, axis=1)
    members = tf.gather(grouped, groups, batch_dims=1)
    position = tf.math.top_k(tf.reshape(members, [-1, count * _GROUP]), count).indices
    return tf.gather(groups, position // _GROUP, batch_dims=1) * _GROUP + position % _GROUP
