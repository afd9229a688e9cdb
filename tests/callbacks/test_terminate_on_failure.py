"""Training that has failed and is stopped."""

import numpy as np
import pytest

from ccp_dml.callbacks import RetrievalValidation, TerminateOnFailure
from tests.callbacks.scripted_training import SetWeights, fit, make_model

pytestmark = pytest.mark.both_backends(slow=True)


@pytest.fixture
def samples(generator):
    labels = np.arange(40) % 4
    return (generator.standard_normal((40, 3)) + labels[:, None]).astype("float32"), labels


def test_stops_when_embeddings_are_not_finite(samples):
    kernels = [np.eye(3, dtype="float32"), np.full((3, 3), np.nan, "float32")] * 3
    failure = TerminateOnFailure()
    validation = RetrievalValidation(samples)
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
        make_model(), [SetWeights(kernels), RetrievalValidation(samples), failure], epochs=5
    )
    assert len(history.epoch) == 4
    assert "collapsed to one point" in failure.failure


def test_close_initial_embeddings_are_not_a_failure(samples):
    close = np.eye(3, dtype="float32") * 1e-5
    kernels = [close, close, np.eye(3, dtype="float32"), close, close]
    failure = TerminateOnFailure(patience=3)
    fit(make_model(), [SetWeights(kernels), RetrievalValidation(samples), failure], epochs=5)
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


def drive(failure, epochs):
    """Drives the callback through epochs with collapsed embeddings, except for epoch 1."""
    failure.set_model(make_model())
    failure.on_train_begin()
    for epoch in epochs:
        failure.on_epoch_end(epoch, {"val_embedding_spread": 1.0 if epoch == 1 else 1e-5})
    return failure


@pytest.mark.parametrize("stop", range(5))
def test_collapsed_epochs_are_counted_on_when_training_resumes(stop, tmp_path):
    assert drive(TerminateOnFailure(), range(4)).failure is None
    whole = drive(TerminateOnFailure(), range(5))
    assert "after epoch 5" in whole.failure
    np.savez(tmp_path / "state.npz", **drive(TerminateOnFailure(), range(stop)).state())
    resumed = TerminateOnFailure()
    with np.load(tmp_path / "state.npz") as state:
        resumed.restore(state)
    assert drive(resumed, range(stop, 5)).failure == whole.failure


def test_a_failure_is_not_forgotten_when_training_resumes(tmp_path):
    failed = drive(TerminateOnFailure(), range(5))
    np.savez(tmp_path / "state.npz", **failed.state())
    resumed = TerminateOnFailure()
    with np.load(tmp_path / "state.npz") as state:
        resumed.restore(state)
    assert drive(resumed, []).failure == failed.failure
    # But it is forgotten when another training begins.
    assert drive(resumed, []).failure is None
