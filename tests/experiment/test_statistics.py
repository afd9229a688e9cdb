"""Intervals and p-values, against Student's formula by hand and all sign flips one by one."""

import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.stats

from ccp_dml.experiment.statistics import adjust_p_values, estimate_mean, paired_difference


def half_width_by_hand(values, confidence):
    count = len(values)
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    quantile = scipy.stats.t.ppf((1 + confidence) / 2, count - 1)
    return quantile * math.sqrt(variance / count)


def p_value_by_enumeration(differences):
    """The p-value of integers, whose sums are exact, so that equal ones compare equal."""
    observed = abs(sum(differences))
    sums = [
        sum(sign * difference for sign, difference in zip(signs, differences, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return sum(abs(each) >= observed for each in sums) / len(sums)


@pytest.mark.parametrize("count", [2, 5, 30])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_interval_is_students(count, confidence, generator):
    values = generator.normal(0.3, 1, count)
    estimate = estimate_mean(values, confidence)
    assert estimate.mean == pytest.approx(sum(values) / count)
    assert estimate.half_width == pytest.approx(half_width_by_hand(values, confidence))
    assert estimate.count == count


def test_the_t_quantile_of_three_values_is_that_of_the_tables():
    assert estimate_mean([1.0, 2.0, 3.0]).half_width == pytest.approx(
        4.303 / math.sqrt(3), rel=1e-4
    )


@pytest.mark.parametrize("count", [2, 5, 30])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_interval_of_a_difference_is_that_of_the_paired_test(count, confidence, generator):
    ours, theirs = generator.normal(0.3, 1, count), generator.normal(size=count)
    difference = paired_difference(ours, theirs, confidence)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    assert difference.mean == pytest.approx(sum(differences) / count)
    assert difference.half_width == pytest.approx(half_width_by_hand(differences, confidence))
    assert difference.positive == sum(each > 0 for each in differences)
    assert difference.count == count


@pytest.mark.parametrize(
    "differences",
    [
        (1, 2),
        (1, 1, 1, 1, 1),
        (4, -1, 3, -2, 7),
        (5, -5, 2, -2),
        (0, 0, 3),
        (9, 8, -1, 7, 4, 4, -3, 2, 6, 1, 5),
    ],
)
def test_the_p_value_counts_all_sign_flips(differences):
    # Sixteenths are exact, like the integers of the enumeration.
    found = paired_difference(np.array(differences) / 16, np.zeros(len(differences)))
    assert found.p_value == pytest.approx(p_value_by_enumeration(differences))


def test_the_p_value_of_many_pairs_is_drawn_and_always_the_same(generator):
    values = generator.normal(0.2, 1, 40)
    first, second = (paired_difference(values, np.zeros(40)).p_value for _ in range(2))
    assert first == second
    student = scipy.stats.ttest_1samp(values, 0).pvalue
    assert first == pytest.approx(student, abs=0.02)


def test_no_p_value_is_below_two_of_all_flips():
    assert paired_difference([0.5, 0.6, 0.8], [0.1, 0.1, 0.1]).p_value == 2 / 2**3


def test_equal_numbers_differ_by_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_difference([0.3, 0.1, 0.2], [0.3, 0.1, 0.2])
        constant = paired_difference([1.5, 2.5, 3.5], [1.0, 2.0, 3.0])
    assert found == (0.0, 0.0, 1.0, 0, 3)
    assert constant == (0.5, 0.0, 0.25, 3, 3)


def test_a_single_value_has_no_interval():
    estimate = estimate_mean([0.5])
    assert estimate.mean == 0.5
    assert math.isnan(estimate.half_width)
    difference = paired_difference([0.5], [0.25])
    assert (difference.mean, difference.positive, difference.count) == (0.25, 1, 1)
    assert math.isnan(difference.half_width)
    assert math.isnan(difference.p_value)


def test_what_is_missing():
    estimate = estimate_mean([0.5, math.nan, 0.25])
    assert math.isnan(estimate.mean)
    assert math.isnan(estimate.half_width)
    ours, theirs = [0.5, math.nan, 0.3, 0.7], [0.1, 0.2, math.nan, 0.4]
    found = paired_difference(ours, theirs)
    assert found == pytest.approx(paired_difference([0.5, 0.7], [0.1, 0.4]))
    assert found.count == 2


def test_numbers_that_cannot_be_compared():
    with pytest.raises(ValueError, match="no numbers"):
        estimate_mean([])
    with pytest.raises(ValueError, match=r"\(1,\) and \(2,\) are not pairs"):
        paired_difference([1.0], [1.0, 2.0])
    for ours, theirs in [([], []), ([math.nan], [1.0])]:
        with pytest.raises(ValueError, match="no pairs"):
            paired_difference(ours, theirs)


def adjusted_by_closure(p_values):
    """The closed test: each hypothesis has the largest p-value of the intersections it is in."""
    count = len(p_values)
    subsets = [
        subset
        for size in range(1, count + 1)
        for subset in itertools.combinations(range(count), size)
    ]
    return [
        max(
            min(1.0, len(subset) * min(p_values[other] for other in subset))
            for subset in subsets
            if index in subset
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_adjusted_p_values_are_those_of_the_closed_test(count, generator):
    p_values = generator.beta(0.5, 3, count)
    np.testing.assert_allclose(adjust_p_values(p_values), adjusted_by_closure(p_values))


def test_adjusted_p_values_by_hand():
    # Sorted: 4 × .005, 3 × .01, then 2 × .03 and 1 × .04, of which the larger holds for both.
    adjusted = adjust_p_values([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(adjust_p_values([0.4, 0.6]), [0.8, 0.8])


def test_tests_that_are_not_done_count():
    np.testing.assert_allclose(adjust_p_values([0.01, 0.02], count=5), [0.05, 0.08])
    adjusted = adjust_p_values([math.nan, 0.01, 0.02])
    np.testing.assert_allclose(adjusted, [math.nan, 0.03, 0.04])
    with pytest.raises(ValueError, match="count must be at least 2; got 1"):
        adjust_p_values([0.01, 0.02], count=1)
