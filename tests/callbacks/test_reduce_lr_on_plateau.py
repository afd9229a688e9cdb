"""Learning rates are the same as with Keras, even if training is interrupted and resumed."""

import keras
import numpy as np
import pytest

from ccp_dml.callbacks import ReduceLROnPlateau

pytestmark = pytest.mark.both_backends(slow=True)

METRICS = [0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.31, 0.5, 0.5, 0.4, 0.5, 0.5, 0.5]
SETTINGS = {
    "mode": "max",
    "factor": 0.5,
    "patience": 2,
    "cooldown": 2,
    "min_delta": 0.05,
    "min_lr": 0.1,
}


def make_model(learning_rate=1.0):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    return model


def drive(callback, model, epochs):
    """Drives a callback through epochs as `fit` does, and returns the learning rate after each."""
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch in epochs:
        callback.on_epoch_end(epoch, {"val_map_at_r": METRICS[epoch]})
        rates.append(float(model.optimizer.learning_rate))
    return rates


@pytest.fixture(scope="module")
def expected():
    plateau = keras.callbacks.ReduceLROnPlateau("val_map_at_r", **SETTINGS)
    rates = drive(plateau, make_model(), range(len(METRICS)))
    assert sorted(set(rates)) == pytest.approx([0.1, 0.125, 0.25, 0.5, 1.0])
    return rates


def test_it_does_what_keras_does(expected):
    plateau = ReduceLROnPlateau("val_map_at_r", **SETTINGS)
    assert drive(plateau, make_model(), range(len(METRICS))) == expected
    # Also in a second training.
    assert drive(plateau, make_model(), range(len(METRICS))) == expected


@pytest.mark.parametrize("stop", range(len(METRICS)))
def test_a_resumed_training_has_the_same_rates(stop, expected, tmp_path):
    plateau, model = ReduceLROnPlateau("val_map_at_r", **SETTINGS), make_model()
    rates = drive(plateau, model, range(stop))
    np.savez(tmp_path / "state.npz", **plateau.state())
    second = ReduceLROnPlateau("val_map_at_r", **SETTINGS)
    with np.load(tmp_path / "state.npz") as state:
        second.restore(state)
    model = make_model(float(model.optimizer.learning_rate))
    assert rates + drive(second, model, range(stop, len(METRICS))) == expected


def test_restoring_something_else_changes_nothing():
    plateau = ReduceLROnPlateau("val_map_at_r", **SETTINGS)
    drive(plateau, make_model(), range(4))
    state = plateau.state()
    with pytest.raises(ValueError, match="not the state of ReduceLROnPlateau: 'wait' is missing"):
        plateau.restore({"best": np.array(0.9)})
    assert plateau.state() == state
