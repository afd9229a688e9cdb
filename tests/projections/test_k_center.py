import json
import pathlib

import numpy as np
import pytest

from ccp_dml.projections import greedy_k_center
from tests import naive

CASES = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "k_center.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_golden(case, golden):
    arrays, number = golden("k_center.npz"), case["case"]
    pool, initial = arrays[f"{number}/pool"], arrays[f"{number}/initial"]
    compared = [pool, initial]
    if case["normalized"]:
        compared = [
            vectors / np.linalg.norm(vectors, axis=2, keepdims=True) for vectors in compared
        ]
    indices = greedy_k_center(*compared, case["k"])
    np.testing.assert_array_equal(indices, arrays[f"{number}/indices"])
    selected = np.take_along_axis(pool, indices[:, :, None], axis=1)
    np.testing.assert_array_equal(selected, arrays[f"{number}/selected"])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_equals_the_naive_choice(dtype, generator):
    pool = generator.standard_normal((6, 20, 3)).astype(dtype)
    initial = generator.standard_normal((6, 4, 3)).astype(dtype)
    np.testing.assert_array_equal(
        greedy_k_center(pool, initial, 10), naive.greedy_k_center(pool, initial, 10)
    )


def test_without_initial_points_distances_are_from_the_origin(generator):
    pool = generator.standard_normal((3, 9, 2))
    none = np.zeros((3, 0, 2))
    chosen = greedy_k_center(pool, none, 5)
    np.testing.assert_array_equal(chosen, naive.greedy_k_center(pool, none, 5))
    np.testing.assert_array_equal(chosen[:, 0], np.linalg.norm(pool, axis=2).argmax(1))


def test_equal_points_and_exhausted_pools(generator):
    # Pools of two distinct points, six times each, in a corner far from the origin.
    points = generator.standard_normal((4, 2, 3)) + 50
    pool = np.tile(points, (1, 6, 1)).astype("float32")
    initial = pool[:, :1]
    indices = greedy_k_center(pool, initial, 4)
    np.testing.assert_array_equal(indices, naive.greedy_k_center(pool, initial, 4))
    np.testing.assert_array_equal(indices, np.tile([1, 0, 0, 0], (4, 1)))


def test_classes_do_not_influence_each_other(generator):
    pool, initial = generator.standard_normal((5, 8, 3)), generator.standard_normal((5, 2, 3))
    order = generator.permutation(5)
    np.testing.assert_array_equal(
        greedy_k_center(pool[order], initial[order], 4), greedy_k_center(pool, initial, 4)[order]
    )


def test_many_classes(generator):
    pool = generator.standard_normal((8488, 7, 16)).astype("float32")
    initial = generator.standard_normal((8488, 4, 16)).astype("float32")
    indices = greedy_k_center(pool, initial, 4)
    some = generator.choice(8488, 50, replace=False)
    np.testing.assert_array_equal(
        indices[some], naive.greedy_k_center(pool[some], initial[some], 4)
    )


@pytest.mark.parametrize(
    ("pool", "initial", "k", "message"),
    [
        ((2, 3), (2, 1, 3), 1, r"pool must be \(C, b, d\)"),
        ((2, 4, 3), (1, 1, 3), 1, "same classes and dimensions"),
        ((2, 4, 3), (2, 1, 2), 1, "same classes and dimensions"),
        ((2, 4, 3), (2, 1, 3), 5, "between 1 and the pool's 4 points per class; got 5"),
        ((2, 4, 3), (2, 1, 3), 0, "got 0"),
    ],
)
def test_wrong_arguments_are_named(pool, initial, k, message):
    with pytest.raises(ValueError, match=message):
        greedy_k_center(np.zeros(pool), np.zeros(initial), k)


def test_of_equal_distances_the_first_in_the_pool_is_taken(generator):
    for _ in range(50):
        pool = generator.integers(-2, 3, (4, 6, 3)).astype("float32")
        initial = generator.integers(-2, 3, (4, 3, 3)).astype("float32")
        np.testing.assert_array_equal(
            greedy_k_center(pool, initial, 4), naive.greedy_k_center(pool, initial, 4)
        )


def test_distances_far_below_the_norms_count(generator):
    pool = (50 + 1e-3 * generator.standard_normal((40, 9, 6))).astype("float32")
    initial = (50 + 1e-3 * generator.standard_normal((40, 3, 6))).astype("float32")
    np.testing.assert_array_equal(
        greedy_k_center(pool, initial, 6), naive.greedy_k_center(pool, initial, 6)
    )


def test_the_order_in_memory_does_not_matter(generator):
    pool = generator.standard_normal((7, 3000, 16)).astype("float32").swapaxes(0, 1)
    initial = generator.standard_normal((4, 3000, 16)).astype("float32").swapaxes(0, 1)
    np.testing.assert_array_equal(
        greedy_k_center(pool, initial, 4), greedy_k_center(pool.copy("C"), initial.copy("C"), 4)
    )
