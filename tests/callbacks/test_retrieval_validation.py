"""Validation while a network trains whose weights the test sets."""

import keras
import numpy as np
import pytest

from ccp_dml.callbacks import RetrievalValidation
from ccp_dml.evaluation import retrieval_metrics
from tests import naive
from tests.callbacks.scripted_training import SetWeights, fit, make_model

pytestmark = pytest.mark.both_backends(slow=True)


@pytest.fixture
def samples(generator):
    labels = np.arange(40) % 4
    return (generator.standard_normal((40, 3)) + labels[:, None]).astype("float32"), labels


def test_measures_this_epochs_weights_and_restores_the_best(samples):
    inputs, labels = samples
    good, bad = np.eye(3, dtype="float32") * 0.1, np.zeros((3, 3), "float32")
    bad[0, 0] = 0.1
    metrics = [
        retrieval_metrics(naive.normalize(inputs @ kernel), labels) for kernel in (good, bad)
    ]
    assert metrics[0]["map_at_r"] > metrics[1]["map_at_r"]
    model = make_model()
    validation = RetrievalValidation(samples)
    kernels = [bad, good, bad, bad]
    history = fit(model, [SetWeights(kernels), validation], epochs=4).history
    for epoch, kernel in enumerate(kernels):
        expected = metrics[0] if kernel is good else metrics[1]
        for name in ("precision_at_1", "r_precision", "map_at_r"):
            assert history[f"val_{name}"][epoch] == pytest.approx(expected[name], abs=1e-3)
    assert validation.best_epoch == 1
    np.testing.assert_array_equal(model.get_weights()[0], good)


def test_moving_averages_are_measured_and_kept(samples):
    """The average of two kernels is measured while training continues from the second."""
    first, second = np.eye(3, dtype="float32"), np.diag(np.array([0.3, 0.2, 0.1], "float32"))
    average = 0.5 * first + 0.5 * second
    model = make_model()
    (kernel,) = model.trainable_variables
    model.optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    validation = RetrievalValidation(samples)
    validation.set_model(model)
    model.optimizer.build(model.trainable_variables)
    for target in (first, second):
        model.optimizer.apply([kernel.value - target], [kernel])
    before, logs = kernel.numpy(), {}
    np.testing.assert_allclose(before, second, atol=1e-6)
    validation.on_train_begin()
    validation.on_epoch_end(0, logs)
    np.testing.assert_array_equal(kernel.numpy(), before)
    metrics = retrieval_metrics(naive.normalize(samples[0] @ average), samples[1])
    assert logs["val_map_at_r"] == pytest.approx(metrics["map_at_r"], abs=1e-3)
    own = retrieval_metrics(naive.normalize(samples[0] @ second), samples[1])
    assert abs(own["map_at_r"] - metrics["map_at_r"]) > 0.01
    validation.on_train_end()
    np.testing.assert_allclose(kernel.numpy(), average, atol=1e-6)


def test_stops_when_patience_runs_out(samples):
    kernels = [np.eye(3, dtype="float32")] * 10
    validation = RetrievalValidation(samples, patience=3)
    history = fit(make_model(), [SetWeights(kernels), validation], epochs=10)
    assert len(history.epoch) == 4


def test_wrong_arguments_are_named(samples):
    with pytest.raises(ValueError, match="map_at_r, r_precision, precision_at_1; got 'recall'"):
        RetrievalValidation(samples, monitor="recall")
    for patience in (0, 2.5):
        message = f"patience must be a whole number of at least 1; got {patience}"
        with pytest.raises(ValueError, match=message):
            RetrievalValidation(samples, patience=patience)
    with pytest.raises(ValueError, match=r"or a pair \(inputs, labels\); got ndarray"):
        RetrievalValidation(*samples)


def test_the_state_can_be_saved_and_restored(samples, tmp_path):
    # Epoch 2 is the best; after it, the patience runs out.
    kernels = [np.eye(3, dtype="float32") * factor for factor in (0.1, 0.3, 3, 0.2, 0.1, 0.1)]
    kernels[0][0] = kernels[3][0] = kernels[4][0] = 0
    whole = RetrievalValidation(samples, patience=2)
    whole_model = make_model()
    epochs = len(fit(whole_model, [SetWeights(kernels), whole], epochs=6).epoch)
    assert whole.best_epoch + 2 == epochs - 1 < 5
    for stop in range(1, epochs):
        first = RetrievalValidation(samples, patience=2, restore_best_weights=False)
        fit(make_model(), [SetWeights(kernels), first], epochs=stop)
        np.savez(tmp_path / "state.npz", **first.state())
        second, model = RetrievalValidation(samples, patience=2), make_model()
        with np.load(tmp_path / "state.npz") as state:
            second.restore(state)
        history = fit(model, [SetWeights(kernels), second], epochs=6, initial_epoch=stop)
        assert history.epoch[-1] == epochs - 1
        assert (second.best, second.best_epoch) == (whole.best, whole.best_epoch)
        np.testing.assert_array_equal(model.get_weights(), whole_model.get_weights())


def test_a_second_training_has_a_best_of_its_own(samples):
    good, bad = np.eye(3, dtype="float32"), np.diag([1.0, 0, 0]).astype("float32")
    validation = RetrievalValidation(samples)
    fit(make_model(), [SetWeights([good]), validation], epochs=1)
    best = validation.best
    fit(make_model(), [SetWeights([bad]), validation], epochs=1)
    assert validation.best < best
