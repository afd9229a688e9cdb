import numpy as np
import pytest

from ccp_dml.evaluation import ranking
from ccp_dml.evaluation.ranking import map_rows, rank_columns


def make_scores(kind, generator, shape):
    if kind == "distinct":
        return generator.standard_normal(shape)
    if kind == "equal":
        return generator.integers(-3, 4, shape) / 8
    if kind == "zeros of both signs":
        return np.where(generator.random(shape) < 0.5, -0.0, 0.0)
    if kind == "all magnitudes":
        return generator.standard_normal(shape) * 10.0 ** generator.integers(-30, 30, shape)
    # Scores that differ in their last bits, and some that do not.
    return 1 + generator.integers(0, 60, shape) * 2.0**-52


@pytest.mark.parametrize(
    "kind", ["distinct", "equal", "zeros of both signs", "all magnitudes", "nearly equal"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 37, 200])
def test_the_order_is_that_of_a_stable_sort(count, dtype, kind, generator):
    scores = make_scores(kind, generator, (40, 200)).astype(dtype)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    ranked = rank_columns(scores, count)
    np.testing.assert_array_equal(ranked, expected)
    assert ranked.dtype == "int32"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [3, 49])
def test_skipped_columns_are_not_found(count, dtype, generator):
    scores = make_scores("equal", generator, (60, 50)).astype(dtype)
    skipped = generator.integers(-1, 50, 60)
    ranked = rank_columns(scores, count, skipped)
    for row, column in enumerate(skipped):
        order = np.argsort(-scores[row], kind="stable")
        np.testing.assert_array_equal(ranked[row], order[order != column][:count])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_column(dtype):
    assert rank_columns(np.array([[2.0], [-1.0]], dtype), 1).tolist() == [[0], [0]]


@pytest.mark.parametrize("at_a_time", [1, 70, 10**6])
def test_every_row_is_taken_once_in_order(at_a_time, monkeypatch):
    monkeypatch.setattr(ranking, "_VALUES_AT_A_TIME", at_a_time)
    parts = map_rows(lambda rows: np.arange(23)[rows], 23, width=10)
    assert np.concatenate(parts).tolist() == list(range(23))
