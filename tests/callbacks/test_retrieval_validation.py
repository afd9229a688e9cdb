import numpy as np
import pytest

from ccp_dml.callbacks import RetrievalValidation
from ccp_dml.evaluation import retrieval_metrics
from tests import naive
from tests.callbacks.scripted_training import SetWeights, fit, make_model


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


def test_wrong_arguments_are_named(samples):
    with pytest.raises(ValueError, match="map_at_r, r_precision, precision_at_1; got 'recall'"):
        RetrievalValidation(*samples, monitor="recall")
    with pytest.raises(ValueError, match="patience must be at least 1 or None; got 0"):
        RetrievalValidation(*samples, patience=0)
