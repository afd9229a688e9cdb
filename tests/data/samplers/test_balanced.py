import collections

import numpy as np
import pytest

from ccp_dml.data import balanced_batches, class_draws

# Labels with gaps, in no order, of classes of unequal size.
SIZES = {3: 1, 4: 9, 10: 2, 11: 5, 25: 4, 70: 7, 71: 3}


def shuffled_labels():
    labels = np.repeat(list(SIZES), list(SIZES.values()))
    return np.random.default_rng(0).permutation(labels)


def drawn(labels, classes_per_batch, samples_per_class, batches, seed=0, first_step=0):
    """Batches as indices (batches, classes_per_batch, samples_per_class), and their classes."""
    dataset = balanced_batches(labels, classes_per_batch, samples_per_class, seed, first_step)
    indices = np.stack(list(dataset.take(batches).as_numpy_iterator()))
    indices = indices.reshape(batches, classes_per_batch, samples_per_class)
    classes = labels[indices]
    assert (classes == classes[:, :, :1]).all()
    return indices, classes[:, :, 0]


@pytest.fixture(scope="module", params=[(2, 3), (3, 1), (5, 2), (6, 4), (7, 8)], ids=str)
def many_batches(request):
    """200 batches of the shuffled labels, as `drawn` returns them."""
    return drawn(shuffled_labels(), *request.param, batches=200)


def test_every_class_is_visited_once_before_any_is_again(many_batches):
    _, classes = many_batches
    visits = classes.ravel()
    for start in range(0, len(visits) - len(SIZES), len(SIZES)):
        assert sorted(visits[start : start + len(SIZES)]) == sorted(SIZES)


def test_a_batch_holds_no_class_twice(many_batches):
    _, classes = many_batches
    assert all(len(set(batch)) == len(batch) for batch in classes)


def test_samples_are_not_repeated_before_they_run_out(many_batches):
    labels = shuffled_labels()
    indices, classes = many_batches
    samples_per_class = indices.shape[2]
    for label, size in SIZES.items():
        visits = indices[classes == label]
        if size >= samples_per_class:
            assert all(len(set(visit)) == samples_per_class for visit in visits)
        draws = visits.ravel()
        members = set(np.flatnonzero(labels == label))
        for start in range(0, len(draws) - size, size):
            assert set(draws[start : start + size]) == members


def test_the_order_is_random_and_fixed_by_the_seed():
    labels = np.repeat(np.arange(4), 6)
    first, _ = drawn(labels, 2, 2, batches=30, seed=1)
    again, _ = drawn(labels, 2, 2, batches=30, seed=1)
    other, _ = drawn(labels, 2, 2, batches=30, seed=2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_all_samples_and_orders_are_equally_likely():
    labels = np.repeat(np.arange(3), 4)
    indices, classes = drawn(labels, 3, 1, batches=6000)
    orders = collections.Counter(map(tuple, classes))
    assert len(orders) == 6
    # 1,000 expected of each; the bounds are more than 5 standard deviations away.
    assert all(850 < count < 1150 for count in orders.values())
    pairs = collections.Counter(zip(*indices[::4, :, 0].T[:2] % 4, strict=True))
    firsts = indices[classes == 0].reshape(-1, 4)
    assert len({tuple(order) for order in firsts.tolist()}) == 24
    assert pairs


def test_draws_take_one_sample_of_every_class_in_order():
    labels = shuffled_labels()
    draws = np.stack(list(class_draws(labels, seed=0).take(60).as_numpy_iterator()))
    assert (labels[draws] == sorted(SIZES)).all()
    for column, (label, size) in enumerate(sorted(SIZES.items())):
        members = set(np.flatnonzero(labels == label))
        for start in range(0, 60 - size, size):
            assert set(draws[start : start + size, column]) == members


def test_twelve_thousand_classes():
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(12_000), generator.integers(0, 12_000, 48_000)])
    _, classes = drawn(labels, 8, 4, batches=1500)
    assert len(set(classes.ravel())) == 12_000
    (draw,) = class_draws(labels, seed=0).take(1).as_numpy_iterator()
    np.testing.assert_array_equal(labels[draw], np.arange(12_000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(3), 4, 1), "a batch of 4 classes cannot be drawn from 3 classes"),
        ((np.arange(3), 0, 1), "classes_per_batch must be a whole number of at least 1; got 0"),
        ((np.zeros(0, int), 1, 1), r"at least one sample; got \(0,\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        balanced_batches(*arguments, seed=0)


def test_draws_and_batches_of_one_seed_are_not_the_same():
    labels = np.repeat(np.arange(50), 20)
    (draw,) = class_draws(labels, seed=0).take(1).as_numpy_iterator()
    (batch,) = balanced_batches(labels, 50, 1, seed=0).take(1).as_numpy_iterator()
    # Two independent choices of 1 in 20 agree on 2.5 of 50 classes.
    assert (np.sort(draw) == np.sort(batch)).sum() < 15


def test_the_first_step_passes_over_batches(many_batches):
    indices, _ = many_batches
    _, classes_per_batch, samples_per_class = indices.shape
    for first_step in (1, 41):
        later, _ = drawn(
            shuffled_labels(), classes_per_batch, samples_per_class, 10, first_step=first_step
        )
        np.testing.assert_array_equal(later, indices[first_step : first_step + 10])


@pytest.mark.slow
def test_a_million_classes_with_five_million_samples():
    classes, generator = 10**6, np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, 4 * classes)])
    (last, first), seen = (
        balanced_batches(labels, 8, 4, seed=0, first_step=124_999).take(2).as_numpy_iterator(),
        set(),
    )
    for batch in (last, first):
        drawn_classes = labels[batch].reshape(8, 4)
        assert (drawn_classes == drawn_classes[:, :1]).all()
        seen |= set(drawn_classes[:, 0])
    assert len(seen) >= 15
    (draw,) = class_draws(labels, seed=0).take(1).as_numpy_iterator()
    np.testing.assert_array_equal(labels[draw], np.arange(classes))
