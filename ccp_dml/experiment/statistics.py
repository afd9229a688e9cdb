"""Means with confidence intervals, paired differences, and corrections for multiple tests."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.stats

from ccp_dml.checks import check_at_least

CONFIDENCE = 0.95
# All sign flips of up to 16 pairs, at most 2¹⁶, are tried.
_SIGN_FLIPS = 2**16


class Estimate(NamedTuple):
    """A mean with Student's confidence interval.

    Attributes:
        mean: The mean.
        half_width: Half the width of the interval around it; NaN for a single value.
        count: Number of values.
    """

    mean: float
    half_width: float
    count: int


class PairedDifference(NamedTuple):
    """The mean difference of two paired series of numbers.

    Attributes:
        mean: Mean of the differences.
        half_width: Half the width of Student's interval around it; NaN for a single pair.
        p_value: Two-sided p-value of the sign-flip permutation test: how often the mean would be at
            least as far from 0 if the sign of each difference were random. NaN for a single pair.
        positive: Number of differences above 0.
        count: Number of pairs.
    """

    mean: float
    half_width: float
    p_value: float
    positive: int
    count: int


def estimate_mean(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """Computes the mean of numbers with Student's confidence interval.

    Args:
        values: The numbers `(n,)`. A NaN makes the mean and its interval NaN: nothing is left out
            silently.
        confidence: Of the interval. Defaults to 0.95.

    Raises:
        ValueError: If there are no numbers.

    Example:

    >>> estimate = estimate_mean([0.1, 0.2, 0.3])
    >>> f"{estimate.mean:.4f} ± {estimate.half_width:.4f}"
    '0.2000 ± 0.2484'
    """
    values = np.asarray(values, "float64")
    if not values.size:
        raise ValueError("there are no numbers to average")
    half_width = math.nan
    if values.size > 1:
        half_width = _half_width(values, np.zeros_like(values), confidence)
    return Estimate(float(values.mean()), half_width, values.size)


def paired_difference(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, confidence: float = CONFIDENCE
) -> PairedDifference:
    """Computes the mean of the paired differences `ours − theirs`, its interval and p-value.

    The test is exact for up to 16 pairs; for more, 65,536 sign flips are drawn with a fixed seed.
    With n pairs no p-value is below `2 / 2ⁿ`.

    Args:
        ours: Numbers `(n,)`.
        theirs: Numbers `(n,)` in the same order. Pairs with a NaN are left out.
        confidence: Of the interval. Defaults to 0.95.

    Raises:
        ValueError: If the numbers are not pairs, or there are none.
    """
    ours, theirs = np.asarray(ours, "float64"), np.asarray(theirs, "float64")
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"numbers of the shapes {ours.shape} and {theirs.shape} are not pairs")
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    ours, theirs = ours[known], theirs[known]
    if not ours.size:
        raise ValueError("there are no pairs of numbers")
    differences = ours - theirs
    half_width = p_value = math.nan
    if differences.size > 1:
        half_width = _half_width(ours, theirs, confidence)
        p_value = scipy.stats.permutation_test(
            (differences,),
            np.mean,
            permutation_type="samples",
            vectorized=True,
            n_resamples=_SIGN_FLIPS,
            rng=np.random.default_rng(0),
        ).pvalue
    positive = int((differences > 0).sum())
    return PairedDifference(
        float(differences.mean()), half_width, float(p_value), positive, differences.size
    )


def adjust_p_values(p_values: npt.ArrayLike, count: int | None = None) -> np.ndarray:
    """Corrects the p-values of several tests for their number by Holm's method.

    Calling those that are at most α significant makes any false claim with a probability of at most
    α, however the tests depend on each other (Holm, "A Simple Sequentially Rejective Multiple Test
    Procedure", Scandinavian Journal of Statistics 1979).

    Args:
        p_values: The p-value of each test `(n,)`. NaN stays NaN, but counts as a test.
        count: Number of tests, including those without a p-value yet. Defaults to `None`: n.

    Returns:
        float64 `(n,)`.

    Raises:
        ValueError: If `count` is below n.

    Example:

    >>> adjust_p_values([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, "float64")
    count = len(p_values) if count is None else count
    check_at_least("count", count, len(p_values))
    order = np.argsort(p_values, kind="stable")
    factors = count - np.arange(len(p_values))
    adjusted = np.empty_like(p_values)
    # NaN is sorted to the end, where it does no harm.
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p_values[order]))
    return adjusted


def _half_width(ours, theirs, confidence):
    with warnings.catch_warnings():
        # Equal differences have an interval of width 0, which needs no warning.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(confidence)
    return float(interval.high - interval.low) / 2
