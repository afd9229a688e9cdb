import numpy as np
import pytest

from ccp_dml.projections import (
    SELECTIONS,
    select_class_means,
    select_k_centers,
    select_random_samples,
)
from tests import naive


def points(generator, classes=5, size=9):
    return generator.standard_normal((classes, size, 3)).astype("float32")


def test_k_centers_are_the_naive_ones(generator):
    pool, proxies = points(generator), points(generator, size=4)
    indices = naive.greedy_k_center(pool, proxies, 6)
    expected = np.stack([own[chosen] for own, chosen in zip(pool, indices, strict=True)])
    np.testing.assert_array_equal(select_k_centers(pool, proxies, 6, None), expected)


def test_random_samples_are_each_of_the_pool_and_once():
    pool = np.arange(4 * 6, dtype="float32").reshape(4, 6, 1)
    selected = select_random_samples(pool, pool, 4, np.random.default_rng(0))
    for own, chosen in zip(pool, selected, strict=True):
        assert len(np.unique(chosen)) == 4
        assert np.isin(chosen, own).all()


def test_random_samples_are_uniform():
    pool = np.tile(np.arange(5, dtype="float32")[:, None], (4000, 1, 1))
    selected = select_random_samples(pool, pool, 2, np.random.default_rng(0))
    counts = np.bincount(selected.astype(int).ravel(), minlength=5)
    # Five standard deviations of a binomial count.
    np.testing.assert_allclose(counts, 4000 * 2 / 5, atol=5 * np.sqrt(4000 * 0.4 * 0.6))


def test_random_samples_of_some_classes_after_the_others_are_those_of_all(generator):
    pool = points(generator, classes=7)
    whole = select_random_samples(pool, pool, 3, np.random.default_rng(2))
    numbers = np.random.default_rng(2)
    parts = [
        select_random_samples(part, part, 3, numbers) for part in (pool[:2], pool[2:3], pool[3:])
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("k", [0, 10])
def test_the_number_of_random_samples_is_limited(k, generator):
    pool = points(generator)
    with pytest.raises(ValueError, match=f"between 1 and the pool's 9 points per class; got {k}"):
        select_random_samples(pool, pool, k, generator)


def test_class_means_are_of_each_class(generator):
    pool = points(generator)
    selected = select_class_means(pool, pool, 2, generator)
    for number in range(2):
        np.testing.assert_allclose(selected[:, number], [sum(own) / 9 for own in pool], rtol=1e-5)


@pytest.mark.parametrize("name", SELECTIONS)
def test_all_return_the_requested_number_and_keep_the_pool(name, generator):
    pool, proxies = points(generator), points(generator, size=4)
    copies = pool.copy(), proxies.copy()
    selected = SELECTIONS[name](pool, proxies, 4, generator)
    assert selected.shape == (5, 4, 3)
    assert selected.dtype == "float32"
    np.testing.assert_array_equal(pool, copies[0])
    np.testing.assert_array_equal(proxies, copies[1])
