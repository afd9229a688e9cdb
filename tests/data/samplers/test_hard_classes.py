import threading

import numpy as np
import pytest
import scipy.stats

from ccp_dml.data import ClassNeighbors, hard_class_batches
from ccp_dml.data.samplers.hard_classes import add_near_classes

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(20) * 3, 6))
# The two classes next to each one on a circle.
RING = (np.arange(20)[:, None] + [1, -1]) % 20


def draw(neighbors, count, first_step=0, seed=0, **params):
    dataset = hard_class_batches(LABELS, 6, 2, seed, first_step, neighbors=neighbors, **params)
    return iter(dataset), count


def take(iterator, count):
    return np.stack([next(iterator).numpy() for _ in range(count)])


def updated(steps, tables):
    """A function that starts batches with all updates of a training, so that none has to wait."""
    neighbors = ClassNeighbors(steps)
    neighbors.is_attached = True

    def start(first_step=0, **params):
        done = first_step // steps
        if done:
            neighbors.restore(tables[done - 1], done)
        else:
            neighbors.reset()
        iterator, _ = draw(neighbors, 0, first_step, **params)
        for table in tables[done:]:
            neighbors.update(table)
        return iterator

    return start


def classes_of(batches):
    return LABELS[batches].reshape(len(batches), 6, 2)[:, :, 0] // 3


@pytest.mark.parametrize(("fraction", "num_added"), [(0.01, 1), (0.5, 3), (0.7, 4), (0.99, 5)])
def test_a_fraction_of_a_batch_is_near_to_the_rest(fraction, num_added):
    batches = take(updated(10, [RING] * 30)(fraction=fraction), 300)
    classes = classes_of(batches)
    for batch in classes:
        assert len(set(batch)) == 6
    near = [
        sum(np.isin(batch[6 - num_added :], RING[batch[: 6 - num_added]])) for batch in classes[10:]
    ]
    # A class has two neighbours, which may be in the batch already.
    assert np.mean(near) > 0.7 * min(num_added, 2 * (6 - num_added))
    before = [
        sum(np.isin(batch[6 - num_added :], RING[batch[: 6 - num_added]])) for batch in classes[:10]
    ]
    assert np.mean(before) < np.mean(near)


def test_batches_hold_different_samples_of_each_class():
    for batch in take(updated(10, [RING] * 3)(), 20):
        groups = LABELS[batch].reshape(6, 2)
        assert (groups[:, 0] == groups[:, 1]).all()
        assert len(set(batch)) == 12


def test_the_rest_comes_once_before_any_comes_again():
    # Each batch takes 3 of the 21 classes in turn, so 7 batches are a pass.
    labels = np.repeat(np.arange(21), 2)
    neighbors = ClassNeighbors(1000)
    iterator = iter(hard_class_batches(labels, 6, 1, 0, neighbors=neighbors))
    classes = labels[take(iterator, 70)]
    for start in range(0, 70, 7):
        assert sorted(classes[start : start + 7, :3].ravel()) == list(range(21))
    counts = np.bincount(classes[:, 3:].ravel(), minlength=21)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_each_update_holds_for_its_steps():
    tables = [(np.arange(20)[:, None] + shift) % 20 for shift in (1, 5, 9)]
    classes = classes_of(take(updated(4, tables)(fraction=0.2), 16))
    for step, batch in enumerate(classes[4:], 4):
        table = tables[step // 4 - 1]
        # The added class is the neighbour of the first, unless the batch has that one already.
        assert batch[5] in table[batch[0]] or table[batch[0], 0] in batch[:5]


def test_the_seed_fixes_batches_and_the_first_step_passes_over_some():
    tables = [np.random.default_rng(number).permuted(RING, axis=0) for number in range(20)]
    start = updated(5, tables)
    batches = take(start(seed=3), 60)
    assert (take(start(seed=4), 60) != batches).any()
    for first_step in (0, 1, 5, 14, 15, 33):
        later = take(start(first_step, seed=3), 12)
        np.testing.assert_array_equal(later, batches[first_step : first_step + 12])


def test_without_updates_an_error_says_what_to_do():
    iterator, _ = draw(ClassNeighbors(5), 0)
    take(iterator, 5)
    with pytest.raises(Exception, match="add HardClasses to the callbacks of fit"):
        next(iterator)


class Attached:
    """Is true, and tells when a batch is about to wait."""

    def __init__(self):
        self.is_waited_for = threading.Event()

    def __bool__(self):
        self.is_waited_for.set()
        return True


def test_batches_of_a_failed_training_leave_updates_to_the_next():
    neighbors = ClassNeighbors(1)
    neighbors.is_attached = attached = Attached()
    failed = iter(hard_class_batches(LABELS, 6, 2, 0, neighbors=neighbors).prefetch(2))
    next(failed)
    attached.is_waited_for.wait()
    neighbors.reset()
    iterator, _ = draw(neighbors, 0)
    take(iterator, 1)
    neighbors.update(RING)
    batches = []
    # A daemon, so that the tests end if it waits for ever.
    thread = threading.Thread(target=lambda: batches.append(next(iterator)), daemon=True)
    thread.start()
    thread.join(60)
    assert batches
    assert next(failed, None) is None


def test_neighbors_of_another_step_are_refused():
    with pytest.raises(ValueError, match=r"needs the neighbours of update 2, .* of update 0"):
        draw(ClassNeighbors(5), 0, first_step=12)


def test_where_all_near_classes_are_there_any_is_added(generator):
    near = np.array([[1], [0], [0], [0]])
    added = {add_near_classes(np.array([0, 1]), near, 1, 4, generator)[2] for _ in range(50)}
    assert added == {2, 3}


@pytest.mark.parametrize(
    ("arguments", "params", "message"),
    [
        ((np.arange(3), 4, 1), {}, "a batch of 4 classes cannot be drawn from 3 classes"),
        ((np.arange(3), 1, 1), {}, "classes_per_batch must be a whole number of at least 2; got 1"),
        ((np.arange(3), 2, 1), {"fraction": 1.0}, "fraction must be between 0 and 1; got 1.0"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments, params, message):
    with pytest.raises(ValueError, match=message):
        hard_class_batches(*arguments, seed=0, neighbors=ClassNeighbors(1), **params)
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1; got 0"):
        ClassNeighbors(0)
