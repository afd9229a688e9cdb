"""The rounds that are kept for plotting."""

import keras
import numpy as np
import pytest

from ccp_dml.callbacks import RoundSnapshots
from ccp_dml.projections import RoundEnd
from tests import naive

pytestmark = pytest.mark.both_backends(slow=True)

LABELS = np.arange(12) % 3


@pytest.fixture
def inputs(generator):
    return generator.standard_normal((12, 2)).astype("float32")


@pytest.fixture
def ends(generator):
    return [
        RoundEnd(
            number,
            *generator.standard_normal((2, 3, 4, 2)),
            generator.standard_normal((3, 5, 2)),
            covering_radius=0.5 + number,
            next_covering_radius=0.25 + number,
        )
        for number in range(3)
    ]


def make_snapshots(inputs, max_rounds=3):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    model.compile("sgd", "mse")
    model.set_weights([np.eye(2)])
    snapshots = RoundSnapshots((inputs, LABELS), max_rounds)
    snapshots.set_model(model)
    model.stop_training = False
    return snapshots


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for name, value in vars(one.end).items():
            np.testing.assert_array_equal(value, getattr(other.end, name), err_msg=name)
            assert type(value) is type(getattr(other.end, name))
        np.testing.assert_array_equal(one.embeddings, other.embeddings)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_samples_are_embedded_when_a_round_ends(inputs, ends):
    snapshots = make_snapshots(inputs)
    snapshots.on_train_begin()
    snapshots.add(ends[0])
    snapshots.model.set_weights([3 * np.eye(2)])
    snapshots.add(ends[1])
    assert [each.end for each in snapshots.snapshots] == ends[:2]
    for factor, each in zip((1, 3), snapshots.snapshots, strict=True):
        np.testing.assert_allclose(each.embeddings, naive.normalize(factor * inputs), rtol=1e-5)
        np.testing.assert_array_equal(each.labels, LABELS)


def test_training_stops_after_the_last_of_them(inputs, ends):
    snapshots = make_snapshots(inputs, max_rounds=2)
    snapshots.on_train_begin()
    snapshots.add(ends[0])
    assert not snapshots.model.stop_training
    snapshots.add(ends[1])
    assert snapshots.model.stop_training


@pytest.mark.parametrize("stop", range(4))
def test_the_state_can_be_saved_and_restored(stop, inputs, ends, tmp_path):
    whole = make_snapshots(inputs)
    whole.on_train_begin()
    first = make_snapshots(inputs)
    first.on_train_begin()
    for number, end in enumerate(ends):
        whole.add(end)
        if number < stop:
            first.add(end)
    np.savez(tmp_path / "state.npz", **first.state())
    second = make_snapshots(inputs)
    with np.load(tmp_path / "state.npz") as state:
        second.restore(state)
    second.on_train_begin()
    assert_same(second.snapshots, first.snapshots)
    for end in ends[stop:]:
        second.add(end)
    assert_same(second.snapshots, whole.snapshots)
    assert second.model.stop_training or stop == 3


def test_a_new_training_starts_without_snapshots(inputs, ends):
    snapshots = make_snapshots(inputs)
    snapshots.on_train_begin()
    snapshots.add(ends[0])
    snapshots.on_train_begin()
    assert snapshots.snapshots == []
