import numpy as np

from ccp_dml.callbacks import RetrievalValidation, TerminateOnFailure
from tests.callbacks.scripted_training import SetWeights, fit, make_model


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
