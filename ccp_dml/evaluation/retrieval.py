"""Retrieval metrics: P@1, R-precision, MAP@R, recall@k."""

import numbers

import numpy as np
import tensorflow as tf

# A block of scores is the largest array in memory; two of this size, and little else, live at a
# time.
_BLOCK_BYTES = 256 * 2**20
_BYTES_A_NEIGHBOUR = 32
# The columns of a block are first narrowed down by their maxima over groups of this many.
_GROUP = 64
# Squares of larger values would not fit into float32.
_LARGEST = 1e15


def retrieval_metrics(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery_embeddings: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    recall_at: tuple[int, ...] = (1, 2, 4, 8),
) -> dict[str, float]:
    """Measures how many of the nearest neighbours of a query are of its class.

    Let R be the number of samples of the query's class in the gallery. P@1 is whether the nearest
    sample is of that class; R-precision the fraction of the R nearest that are; MAP@R (Musgrave et
    al., ECCV 2020) is `1/R Σ_{j ≤ R} P@j · [the j-th is of the class]`; recall@k is whether any of
    the k nearest is. All are means over the queries with R > 0; the others are left out.

    Neighbours are ranked by the Euclidean distance of the vectors as given. Distances are computed
    in blocks: beside the embeddings and one copy of the gallery, memory is bounded.

    Args:
        embeddings: The queries `(n, d)`; computed in float32, or in float64 if they are float64.
        labels: Their classes `(n,)`.
        gallery_embeddings: What the queries are compared with `(m, d)`. Defaults to `None`: every
            query is compared with all others.
        gallery_labels: Their classes `(m,)`, required with `gallery_embeddings`.
        recall_at: The k of recall@k. Defaults to `(1, 2, 4, 8)`.

    Returns:
        `precision_at_1`, `r_precision`, `map_at_r`, and `recall_at_1` and so on, between 0 and 1.

    Raises:
        ValueError: If shapes do not fit, there are no embeddings, a value is not finite or not
            below 1e15, a k is not a positive integer, or no query has another sample of its class.

    Example:

    >>> embeddings = np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> retrieval_metrics(embeddings, np.array([0, 0, 1, 1]), recall_at=(2,))
    {'precision_at_1': 0.5, 'r_precision': 0.5, 'map_at_r': 0.5, 'recall_at_2': 0.75}
    """
    queries, labels = _check_embeddings(embeddings, labels, "")
    if (gallery_embeddings is None) != (gallery_labels is None):
        raise ValueError("gallery_embeddings and gallery_labels must be given together")
    search_among_others = gallery_embeddings is None
    if search_among_others:
        gallery, gallery_labels = queries, labels
    else:
        gallery, gallery_labels = _check_embeddings(gallery_embeddings, gallery_labels, "gallery_")
        common = np.result_type(queries, gallery)
        queries, gallery = queries.astype(common, copy=False), gallery.astype(common, copy=False)
    if gallery.shape[1] != queries.shape[1]:
        raise ValueError(
            f"queries of size {queries.shape[1]} cannot be compared with a gallery of size "
            f"{gallery.shape[1]}"
        )
    if not all(isinstance(k, numbers.Integral) and k >= 1 for k in tuple(recall_at)):
        raise ValueError(f"recall_at must hold integers of at least 1; got {recall_at}")

    labels, gallery_labels, num_relevant = _match_labels(labels, gallery_labels)
    if search_among_others:
        num_relevant = num_relevant - 1
    # Queries with like numbers of relevant samples share a block, because a block looks as deep as
    # its most demanding query.
    order = np.argsort(num_relevant, kind="stable")
    order = order[num_relevant[order] > 0]
    if not order.size:
        raise ValueError(
            "no query has a sample of its class to be found: there is nothing to measure"
        )

    index = _SearchIndex(gallery)
    totals = np.zeros(3 + len(recall_at))
    start = 0
    while start < order.size:
        block = order[start : start + index.block_size]
        depth = max(num_relevant[block[-1]], *recall_at, 1)
        # Where queries look deep, what is found is as large as the scores.
        block = block[: max(1, _BLOCK_BYTES // (_BYTES_A_NEIGHBOUR * depth))]
        neighbours = index.nearest(queries[block], depth, block if search_among_others else None)
        correct = gallery_labels[neighbours] == labels[block, None]
        totals += _sum_metrics(correct, num_relevant[block], recall_at)
        start += len(block)
    names = ["precision_at_1", "r_precision", "map_at_r", *(f"recall_at_{k}" for k in recall_at)]
    return dict(zip(names, (totals / order.size).tolist(), strict=True))


def _check_embeddings(embeddings, labels, prefix):
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"{prefix}embeddings must be (n, d) and {prefix}labels (n,); got {embeddings.shape} "
            f"and {labels.shape}"
        )
    if not embeddings.size:
        raise ValueError(f"{prefix}embeddings are empty: {embeddings.shape}")
    if embeddings.dtype != "float64":
        embeddings = embeddings.astype("float32", copy=False)
    largest = np.abs(embeddings).max()
    if not largest < _LARGEST:
        raise ValueError(
            f"{prefix}embeddings must be finite and below {_LARGEST:g}; the largest is {largest}"
        )
    return embeddings, labels


def _match_labels(labels, gallery_labels):
    """Labels as indices into the gallery's classes (−1 for none), and those classes' sizes."""
    classes, gallery_labels, sizes = np.unique(
        gallery_labels, return_inverse=True, return_counts=True
    )
    position = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    known = classes[position] == labels
    return (
        np.where(known, position, -1),
        gallery_labels,
        np.where(known, sizes[position], 0),
    )


def _sum_metrics(correct, num_relevant, recall_at):
    """Sums the metrics of queries.

    Args:
        correct: Whether a neighbour is of the query's class, nearest first `(n, depth)`.
        num_relevant: R `(n,)`, at most `depth`.
        recall_at: The k of recall@k.

    Returns:
        `(3 + len(recall_at),)`.
    """
    rank = np.arange(1, correct.shape[1] + 1)
    within = correct & (rank <= num_relevant[:, None])
    precision = np.cumsum(within, axis=1) / rank
    return np.array(
        [
            correct[:, 0].sum(),
            (within.sum(axis=1) / num_relevant).sum(),
            ((precision * within).sum(axis=1) / num_relevant).sum(),
            *(correct[:, :k].any(axis=1).sum() for k in recall_at),
        ],
        "float64",
    )


class _SearchIndex:
    """Exact nearest-neighbour search by blocked matrix products.

    For a query q the samples g are ranked by `qᵀg − ‖g‖²/2`, which one product with an added
    coordinate gives. A gallery far from the origin is shifted to its mean first, which distances
    do not see and rounding does.
    """

    def __init__(self, gallery):
        self.size = len(gallery)
        mean = gallery.mean(axis=0, dtype="float64").astype(gallery.dtype)
        # Only embeddings far from the origin gain; those around it keep exact values exact, so
        # that equal distances stay equal.
        is_far = np.square(mean).sum() > np.square(gallery - mean).sum(axis=1).mean()
        self.mean = mean if is_far else np.zeros_like(mean)
        centered = gallery - self.mean
        half_squares = 0.5 * np.square(centered).sum(axis=1, keepdims=True)
        self.num_groups = -(-self.size // _GROUP)
        columns = np.zeros((gallery.shape[1] + 1, self.num_groups * _GROUP), gallery.dtype)
        columns[:-1, : self.size] = centered.T
        columns[-1, : self.size] = -half_squares[:, 0]
        columns[-1, self.size :] = np.finfo(gallery.dtype).min / 2
        self.columns = tf.constant(columns)
        self.block_size = max(1, _BLOCK_BYTES // (columns.shape[1] * columns.itemsize))

    def nearest(self, queries, depth, own=None):
        """The nearest samples of the gallery.

        Args:
            queries: `(n, d)`.
            depth: Number of neighbours to find; fewer are found in a smaller gallery.
            own: Indices of the queries in the gallery `(n,)`, which are not to be found.

        Returns:
            Indices `(n, depth)`, nearest first.
        """
        available = self.size - (own is not None)
        depth = min(depth, available)
        wanted = depth + (own is not None)
        queries = queries - self.mean
        rows = np.concatenate([queries, np.ones_like(queries[:, :1])], axis=1)
        found = _find_largest_products(
            tf.constant(rows), self.columns, self.num_groups, wanted
        ).numpy()
        if own is None:
            return found
        # The query itself is dropped; where equal vectors kept it out, the last one is.
        is_own = found == own[:, None]
        is_own[:, -1] |= ~is_own.any(axis=1)
        return found[~is_own].reshape(len(found), depth)


@tf.function(reduce_retracing=True)
def _find_largest_products(rows, columns, num_groups, count):
    """Which columns have the largest inner products with each row.

    The largest products lie in the groups of columns with the largest maxima, so that after one
    pass for the maxima only `count` groups of a row are looked at.

    Args:
        rows: `(n, d)`.
        columns: `(d, num_groups · _GROUP)`.
        num_groups: A Python integer.
        count: Number of columns to find, a Python integer.

    Returns:
        Indices int32 `(n, count)`, largest product first and of equal ones the first column.
    """
    products = tf.matmul(rows, columns)
    if count >= num_groups // 2:
        return tf.math.top_k(products, count).indices
    grouped = tf.reshape(products, [-1, num_groups, _GROUP])
    groups = tf.math.top_k(tf.reduce_max(grouped, axis=2), count).indices
    groups = tf.sort(groups, axis=1)
    members = tf.gather(grouped, groups, batch_dims=1)
    position = tf.math.top_k(tf.reshape(members, [-1, count * _GROUP]), count).indices
    return tf.gather(groups, position // _GROUP, batch_dims=1) * _GROUP + position % _GROUP
