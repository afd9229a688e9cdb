"""A single warning says that proxies undo what the warm-up has learned."""

import numpy as np
import pytest

from ccp_dml.callbacks import ShrinkageWarning

WARMUP = [(-1, 0.05, 0.3), (-1, 0.10, 0.4)]


def drive(epochs, callback=None, first=0, monitor="val_map_at_r"):
    """The callback after epochs, each given by its round, metric and spread."""
    if callback is None:
        callback = ShrinkageWarning(monitor)
        callback.on_train_begin()
    for epoch, (number, metric, spread) in enumerate(epochs, first):
        logs = {"round": number, monitor: metric, "val_embedding_spread": spread}
        callback.on_epoch_end(epoch, logs)
    return callback


@pytest.mark.parametrize(
    ("epoch", "warns"),
    [
        ((0, 0.05, 0.2), True),
        ((0, 0.11, 0.26), True),
        ((0, 0.13, 0.2), False),  # It spreads less, and finds more.
        ((0, 0.05, 0.3), False),  # It finds less, and spreads as before.
        ((2, 0.05, 0.2), True),
    ],
)
def test_warns_of_embeddings_that_shrink_and_do_not_get_better(epoch, warns):
    assert (drive([*WARMUP, epoch]).warning is not None) == warns


def test_says_once_what_was_and_what_is(caplog):
    callback = drive([*WARMUP, (0, 0.08, 0.2), (0, 0.02, 0.1)])
    (record,) = (record for record in caplog.records if "drawn" in record.message)
    for number in ("after epoch 3", "is 0.2 (it was 0.4)", "val_map_at_r is 0.08 (it was 0.1)"):
        assert number in record.message
    assert callback.warning in record.message


@pytest.mark.parametrize(
    "epochs", [[(0, 0.5, 0.4), (0, 0.1, 0.1)], [*WARMUP, (0, np.nan, np.nan)], WARMUP]
)
def test_has_nothing_to_say_without_a_comparison(epochs):
    assert drive(epochs).warning is None


def test_reads_the_metric_it_is_told():
    epochs = [*WARMUP, (0, 0.08, 0.2)]
    assert "val_precision_at_1 is 0.08" in drive(epochs, monitor="val_precision_at_1").warning


def test_a_callback_without_logs_of_rounds_warns_of_nothing():
    callback = ShrinkageWarning()
    callback.on_train_begin()
    callback.on_epoch_end(0)
    callback.on_epoch_end(1, {"loss": 1.0})
    assert callback.warning is None


@pytest.mark.parametrize("stop", range(5))
def test_remembers_the_warmup_and_the_warning_when_training_resumes(stop, caplog):
    epochs = [*WARMUP, (0, 0.2, 0.4), (0, 0.05, 0.2), (0, 0.05, 0.2)]
    before = drive(epochs[:stop])
    resumed = ShrinkageWarning()
    resumed.restore(before.state())
    resumed.on_train_begin()
    drive(epochs[stop:], resumed, first=stop)
    assert resumed.warning == drive(epochs).warning
    assert sum("drawn" in record.message for record in caplog.records) == 2
