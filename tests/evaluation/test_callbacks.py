import keras
import numpy as np
import pytest

from ccp_dml.callbacks import RetrievalValidation, TerminateOnFailure
from ccp_dml.evaluation import embed, embedding_spread, retrieval_metrics
from tests import naive


@pytest.fixture
def samples(generator):
    labels = np.arange(40) % 4
    return (generator.standard_normal((40, 3)) + labels[:, None]).astype("float32"), labels


def make_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.compile("sgd", loss="mse")
    return model


class SetWeights(keras.callbacks.Callback):
    """Puts a factor of the identity into the network at the start of each epoch."""

    def __init__(self, kernels):
        super().__init__()
        self.kernels = kernels

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([self.kernels[epoch]])


def fit(model, callbacks, epochs):
    zeros = np.zeros((4, 3), "float32")
    return model.fit(zeros, zeros, epochs=epochs, verbose=0, callbacks=callbacks)


def test_embeddings_are_normalized(samples):
    model = make_model()
    inputs, _ = samples
    expected = naive.normalize(model.predict(inputs, verbose=0))
    np.testing.assert_allclose(embed(model, inputs), expected, rtol=1e-5)


def test_measures_this_epochs_weights_and_restores_the_best(samples):
    inputs, labels = samples
    good, bad = np.eye(3, dtype="float32") * 0.1, np.zeros((3, 3), "float32")
    bad[0, 0] = 0.1
    metrics = [
        retrieval_metrics(naive.normalize(inputs @ kernel), labels) for kernel in (good, bad)
    ]
    assert metrics[0]["map_at_r"] > metrics[1]["map_at_r"]
    model = make_model()
    validation = RetrievalValidation(inputs, labels)
    kernels = [bad, good, bad, bad]
    history = fit(model, [SetWeights(kernels), validation], epochs=4).history
    for epoch, kernel in enumerate(kernels):
        expected = metrics[0] if kernel is good else metrics[1]
        for name in ("precision_at_1", "r_precision", "map_at_r"):
            assert history[f"val_{name}"][epoch] == pytest.approx(expected[name], abs=1e-3)
    assert validation.best_epoch == 1
    np.testing.assert_array_equal(model.get_weights()[0], good)


def test_stops_when_patience_runs_out(samples):
    kernels = [np.eye(3, dtype="float32")] * 10
    validation = RetrievalValidation(*samples, patience=3)
    history = fit(make_model(), [SetWeights(kernels), validation], epochs=10)
    assert len(history.epoch) == 4


def test_stops_when_embeddings_are_not_finite(samples):
    kernels = [np.eye(3, dtype="float32"), np.full((3, 3), np.nan, "float32")] * 3
    failure = TerminateOnFailure()
    validation = RetrievalValidation(*samples)
    model = make_model()
    history = fit(model, [SetWeights(kernels), validation, failure], epochs=6)
    assert len(history.epoch) == 2
    assert np.isnan(history.history["val_map_at_r"][1])
    assert "not finite after epoch 2" in failure.failure
    np.testing.assert_array_equal(model.get_weights()[0], kernels[0])


def test_stops_when_embeddings_collapse(samples):
    collapsed = np.eye(3, dtype="float32") * 1e-5
    kernels = [np.eye(3, dtype="float32"), collapsed, collapsed, collapsed, collapsed]
    failure = TerminateOnFailure(patience=3)
    history = fit(
        make_model(), [SetWeights(kernels), RetrievalValidation(*samples), failure], epochs=5
    )
    assert len(history.epoch) == 4
    assert "collapsed to one point" in failure.failure


def test_embeddings_may_be_close_together_at_first(samples):
    close = np.eye(3, dtype="float32") * 1e-5
    kernels = [close, close, np.eye(3, dtype="float32"), close, close]
    failure = TerminateOnFailure(patience=3)
    fit(make_model(), [SetWeights(kernels), RetrievalValidation(*samples), failure], epochs=5)
    assert failure.failure is None


def test_stops_when_the_loss_is_not_finite():
    failure = TerminateOnFailure()
    failure.set_model(make_model())
    failure.on_train_begin()
    failure.on_epoch_end(0, {"loss": 1.0})
    assert failure.failure is None
    failure.on_epoch_end(1, {"loss": float("inf")})
    assert "the loss is not finite after epoch 2" in failure.failure
    assert failure.model.stop_training


def test_spread():
    assert embedding_spread(np.ones((5, 3))) == 0
    assert embedding_spread(np.array([[0.0, 0.0], [0.0, 2.0]])) == 1


def test_wrong_arguments_are_named(samples):
    with pytest.raises(ValueError, match="map_at_r, r_precision, precision_at_1; got 'recall'"):
        RetrievalValidation(*samples, monitor="recall")
    with pytest.raises(ValueError, match="patience must be at least 1 or None; got 0"):
        RetrievalValidation(*samples, patience=0)
