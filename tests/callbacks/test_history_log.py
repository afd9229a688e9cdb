"""The history file of a training, including one that is resumed."""

import csv

import keras
import pytest

from ccp_dml.callbacks import HistoryLog
from tests.callbacks.scripted_training import fit, make_model

pytestmark = pytest.mark.both_backends(slow=True)


def write_epochs(log, epochs):
    """Drives the callback through epochs as `fit` does."""
    log.set_model(keras.Sequential())
    log.set_params({"steps": 25})
    log.on_train_begin()
    for epoch in epochs:
        log.on_epoch_end(epoch, {"loss": 1 / (epoch + 3), "val_map_at_r": epoch / 7})


def resumed(path, epochs):
    log = HistoryLog(path)
    log.restore({"epochs": epochs})
    return log


@pytest.fixture
def whole(tmp_path):
    """The bytes of the file after five epochs."""
    log = HistoryLog(tmp_path / "whole.csv")
    write_epochs(log, range(5))
    log.on_train_end()
    return (tmp_path / "whole.csv").read_bytes()


def test_the_logs_of_every_epoch_are_written(tmp_path, whole):
    with (tmp_path / "whole.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [int(row["step"]) for row in rows] == [25, 50, 75, 100, 125]
    assert [float(row["loss"]) for row in rows] == [1 / (epoch + 3) for epoch in range(5)]
    assert [float(row["val_map_at_r"]) for row in rows] == [epoch / 7 for epoch in range(5)]


@pytest.mark.parametrize("saved", [1, 3, 4])
def test_rows_after_the_checkpoint_are_removed(tmp_path, whole, saved):
    write_epochs(HistoryLog(tmp_path / "log.csv"), range(4))
    write_epochs(resumed(tmp_path / "log.csv", saved), range(saved, 5))
    assert (tmp_path / "log.csv").read_bytes() == whole


@pytest.mark.parametrize("left", [b"3,", b"3,0.16", b"3", b'3,"'])
def test_half_a_row_is_removed(tmp_path, whole, left):
    write_epochs(HistoryLog(tmp_path / "log.csv"), range(3))
    with (tmp_path / "log.csv").open("ab") as file:
        file.write(left)
    write_epochs(resumed(tmp_path / "log.csv", 3), [3, 4])
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_half_a_header_is_removed(tmp_path, whole):
    (tmp_path / "log.csv").write_bytes(b"epoch,lo")
    write_epochs(resumed(tmp_path / "log.csv", 0), range(5))
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_a_training_that_starts_anew_writes_a_new_file(tmp_path, whole):
    log = HistoryLog(tmp_path / "log.csv")
    write_epochs(log, range(3))
    write_epochs(log, range(5))
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_a_resumed_log_starts_anew(tmp_path, whole):
    write_epochs(HistoryLog(tmp_path / "log.csv"), range(3))
    log = resumed(tmp_path / "log.csv", 3)
    write_epochs(log, [3, 4])
    write_epochs(log, range(5))
    assert (tmp_path / "log.csv").read_bytes() == whole


def test_the_state_is_the_number_of_epochs(tmp_path):
    log = HistoryLog(tmp_path / "log.csv")
    assert log.state() == {"epochs": 0}
    write_epochs(log, range(3))
    assert log.state() == {"epochs": 3}
    with pytest.raises(ValueError, match=r"not the state of HistoryLog: 'epochs' is missing"):
        log.restore({})
    assert log.state() == {"epochs": 3}


def test_steps_are_those_of_the_training(tmp_path):
    path = tmp_path / "log.csv"
    fit(make_model(), [HistoryLog(path)], epochs=3)
    model = make_model()
    log = HistoryLog(path)
    log.restore({"epochs": 1})
    fit(model, [log], epochs=4, initial_epoch=1)
    with path.open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    a_step, trained = steps[0], int(model.optimizer.iterations)
    assert steps == [a_step, 2 * a_step, 3 * a_step, 4 * a_step]
    assert trained == 3 * a_step


def test_the_length_of_an_epoch_has_to_be_known(tmp_path):
    log = HistoryLog(tmp_path / "log.csv")
    log.set_params({"steps": None})
    with pytest.raises(ValueError, match="pass steps_per_epoch to fit"):
        log.on_train_begin()
