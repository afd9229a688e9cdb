"""Triplet loss over all triplets."""

import keras
from keras import ops

from ccp_dml.checks import check_one_of
from ccp_dml.losses.distances import DISTANCES
from ccp_dml.losses.pairwise import Pairs, PairwiseLoss
from ccp_dml.losses.row_sums import reduce_rows, sum_rows
from ccp_dml.miners import TripletMiner

# With at least this many references, sorting does not pay off for anchors that have at most this
# many positives.
_MANY_REFERENCES, _FEW_POSITIVES = 1024, 32

# Positives of each anchor that are handled in one pass over the references.
_POSITIVES_AT_ONCE = 4
_NO_POSITIVE = float("-inf")
# Means over each anchor's triplets are not offered: they would need a count for each anchor.
TRIPLET_REDUCTIONS = ("mean_nonzero", "mean")


def mean_over_triplets(
    distances,
    pairs: Pairs,
    margin: float,
    miner: TripletMiner | None = None,
    only_violated: bool = True,
):
    """The mean of the hinges `(Dᵢⱼ − Dᵢₖ + m)₊`, over all positives j and negatives k.

    With few positives among many references, such as proxies, it goes over the references for a few
    positives of each anchor at once; otherwise it sorts them.

    Args:
        distances: `(n, r)`.
        pairs: The pairs with these distances.
        margin: m.
        miner: Which of the triplets count. Defaults to `None`: all.
        only_violated: Whether the mean is over only the hinges above zero. Defaults to `True`.

    Returns:
        A scalar; 0 when no triplet is violated.
    """
    if miner is not None:
        return _mean_of_mined(distances, pairs, margin, miner, only_violated)
    total_count = None if only_violated else _count_triplets(pairs, distances.dtype)
    if distances.shape[1] is None or distances.shape[1] < _MANY_REFERENCES:
        return _mean_by_sorting(distances, pairs, margin, total_count)
    columns = _find_columns(pairs.positives, _FEW_POSITIVES + 1)
    few = columns[:, :_FEW_POSITIVES]
    return ops.cond(
        ops.any(columns[:, _FEW_POSITIVES] < distances.shape[1]),
        lambda: _mean_by_sorting(distances, pairs, margin, total_count),
        lambda: _mean_by_positives(distances, pairs, margin, few, total_count),
    )


def _count_triplets(pairs, dtype):
    """Counts the triplets."""
    negatives = pairs.weigh_negatives(ops.cast(pairs.negatives, dtype))
    return ops.sum(ops.sum(ops.cast(pairs.positives, dtype), axis=1) * ops.sum(negatives, axis=1))


def _find_columns(mask, most):
    """Finds the first columns of each row where a mask `(n, r)` is set, `(n, most)`; r for none.

    Each pass finds the next column of every row.
    """
    none = mask.shape[1]
    columns, places = ops.arange(none, dtype="int32"), ops.arange(most, dtype="int32")

    def find_next(place, last, found):
        rest = ops.where(ops.logical_and(mask, columns > last), columns, none)
        following = reduce_rows(rest, ops.minimum, ops.min)
        return place + 1, following, ops.where(places == place, following, found)

    nothing = ops.full_like(places + ops.cast(mask[:, :1], "int32"), none)
    start = (ops.zeros((), "int32"), ops.full_like(nothing[:, :1], -1), nothing)
    *_, found = ops.while_loop(
        lambda place, last, found: ops.any(last < none), find_next, start, maximum_iterations=most
    )
    return found


def _mean_by_positives(distances, pairs, margin, columns, total_count):
    """Handles the positives in the given columns, a few of each anchor at a time.

    The gradient is computed on the way: for every hinge above zero, that of the positive's distance
    rises by one and that of the negative's falls by one.
    """
    negative_weights = pairs.weigh_negatives(ops.cast(pairs.negatives, distances.dtype))
    fixed = ops.stop_gradient(distances)

    def add_triplets(left, total, count, slopes):
        sums = 0.0
        for place in range(_POSITIVES_AT_ONCE):
            positive_distances = left[:, place : place + 1]
            hinges = ops.relu(positive_distances + margin - fixed)
            violated = ops.where(hinges > 0.0, negative_weights, 0.0)
            sums += negative_weights * hinges
            counts = sum_rows(violated)
            count += ops.sum(counts)
            # Equal distances have equal counts.
            is_positive = ops.logical_and(pairs.positives, fixed == positive_distances)
            slopes = ops.where(is_positive, counts, slopes - violated)
        none = ops.full_like(left[:, :_POSITIVES_AT_ONCE], _NO_POSITIVE)
        left = ops.concatenate([left[:, _POSITIVES_AT_ONCE:], none], axis=1)
        return left, total + ops.sum(sum_rows(sums)), count, slopes

    # Not 0 if a distance is not finite: then the loss must not be finite either.
    total = 0.0 * ops.sum(sum_rows(fixed))
    last = fixed.shape[1] - 1
    left = ops.take_along_axis(fixed, ops.minimum(columns, last), axis=1)
    left = ops.where(columns <= last, left, _NO_POSITIVE)
    _, total, count, slopes = ops.while_loop(
        lambda left, *_: ops.any(left > _NO_POSITIVE),
        add_triplets,
        add_triplets(left, total, 0.0, 0.0),
    )
    count = ops.maximum(count if total_count is None else total_count, 1.0)
    return _with_gradient(distances, *map(ops.stop_gradient, (total / count, count, slopes)))


@ops.custom_gradient
def _with_gradient(distances, value, count, slopes):
    """Returns `value`, with the gradient `slopes / count` with respect to the distances."""

    def gradient(upstream):
        nothing = (ops.zeros_like(each) for each in (value, count, slopes))
        return upstream / count * slopes, *nothing

    return value, gradient


def _mean_by_sorting(distances, pairs, margin, total_count):
    total, count = _sum_hinges_below(distances, pairs, margin)
    return total / ops.maximum(count if total_count is None else total_count, 1.0)


def _mean_of_mined(distances, pairs, margin, miner, only_violated):
    # The triplets up to one bound minus those up to the other.
    total, count = (
        _sum_hinges_below(distances, pairs, margin)
        if miner.upper >= margin
        else _sum_hinges_below(distances, pairs, margin, miner.upper)
    )
    if miner.lower >= margin:
        return 0.0 * total
    if not only_violated and miner.upper >= margin:
        count = (
            _count_triplets(pairs, distances.dtype)
            if miner.upper == float("inf")
            else _sum_hinges_below(distances, pairs, margin, miner.upper)[1]
        )
    if miner.lower > float("-inf"):
        too_hard, their_count = _sum_hinges_below(distances, pairs, margin, miner.lower)
        total, count = total - too_hard, count - their_count
    return total / ops.maximum(count, 1.0)


def _sum_hinges_below(distances, pairs, margin, bound=None):
    """The sum of `Dᵢⱼ − Dᵢₖ + m` over the triplets with `Dᵢₖ − Dᵢⱼ <= bound`, and their number.

    Without a bound, those with `Dᵢₖ − Dᵢⱼ < m`, whose hinges are above zero.

    It sorts the positives' `x = Dᵢⱼ + bound` together with the negatives' distances. The triplets
    of a positive are those of the negatives below x, and the sum of their hinges is `Dᵢⱼ + m` times
    their number minus their sum. Both are running sums, so that r references take O(r log r) time
    and O(r) memory per anchor, instead of O(r²) for all triplets.
    """
    dtype = distances.dtype
    nothing = ops.zeros_like(distances)

    def join(positives, negatives):
        # Sorting is stable: equal values keep their order. A negative at exactly x counts if there
        # is a bound; without one its hinge is zero and it does not count.
        rows = [positives, negatives] if bound is None else [negatives, positives]
        return ops.concatenate(rows, axis=1)

    values = join(distances + (margin if bound is None else bound), distances)
    is_positive = join(ops.cast(pairs.positives, dtype), nothing)
    negatives = pairs.weigh_negatives(ops.cast(pairs.negatives, dtype))
    is_negative = join(nothing, negatives)
    order = ops.argsort(ops.stop_gradient(values), axis=1)
    values, is_positive, is_negative = (
        ops.take_along_axis(rows, order, axis=1) for rows in (values, is_positive, is_negative)
    )
    negatives_below = ops.cumsum(is_negative, axis=1)
    their_sum = ops.cumsum(is_negative * values, axis=1)
    ends = values if bound is None else values + (margin - bound)
    total = ops.sum(is_positive * (ends * negatives_below - their_sum))
    return total, ops.sum(is_positive * negatives_below)


@keras.saving.register_keras_serializable("ccp_dml")
class Triplet(PairwiseLoss):
    """Triplet loss: the mean over the non-zero `(Dᵢⱼ − Dᵢₖ + m)₊` of all triplets.

    Every anchor i with every positive j and every negative k counts; D is the Euclidean distance
    unless another is chosen, which a `TripletMiner` then uses too. With `negative_counts` it is a
    ratio of two unbiased sums.

    Args:
        margin: m. Defaults to 0.0961 (the CCP paper's value on CUB).
        distance: D, a key of `DISTANCES`: `"euclidean"` (default), `"squared_euclidean"` or
            `"cosine"`, 1 − cos.
        reduction: `"mean_nonzero"` (default), the mean over the triplets whose hinge is above zero;
            or `"mean"`, the mean over all triplets, or over all that a `TripletMiner` chooses.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `distance` or `reduction` is unknown.

    Example:

    >>> loss = Triplet(margin=0.1)
    >>> embeddings = np.array([[0.0], [0.5], [0.2]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)
    0.35
    """

    def __init__(
        self,
        margin: float = 0.0961,
        distance: str = "euclidean",
        reduction: str = "mean_nonzero",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_one_of("distance", distance, DISTANCES)
        check_one_of("reduction", reduction, TRIPLET_REDUCTIONS)
        self.margin = margin
        self.distance = distance
        self.reduction = reduction

    @property
    def takes_triplets(self):
        return True

    def labeled_loss(self, embeddings, references, pairs, seed, miner: TripletMiner | None = None):
        distances = DISTANCES[self.distance](embeddings, references)
        only_violated = self.reduction == "mean_nonzero"
        return mean_over_triplets(distances, pairs, self.margin, miner, only_violated)

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "distance": self.distance,
            "reduction": self.reduction,
        }
