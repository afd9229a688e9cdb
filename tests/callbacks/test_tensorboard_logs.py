"""Logs for TensorBoard, including those of a resumed training."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccp_dml.callbacks import RetrievalValidation, TensorBoardLogs
from ccp_dml.evaluation import pair_distances

pytestmark = pytest.mark.both_backends(slow=True)

STEPS = 25


@pytest.fixture
def validation(generator):
    """Stands for the callback that validates."""
    embeddings = generator.standard_normal((20, 4)).astype("float32")
    return types.SimpleNamespace(embeddings=embeddings, labels=np.arange(20) % 4)


def write_epochs(logs, epochs, close=False):
    """Drives the callback through epochs as `fit` does."""
    logs.set_model(keras.Sequential())
    logs.set_params({"steps": STEPS})
    logs.on_train_begin()
    for epoch in epochs:
        logs.on_epoch_end(epoch, {"loss": 1 / (epoch + 3)})
    if close:
        logs.on_train_end()


def resumed(validation, folder, epochs):
    logs = TensorBoardLogs(validation, str(folder))
    logs.restore({"epochs": epochs})
    return logs


def written(folder, name="loss"):
    """The steps and values that TensorBoard shows, from all files in the folder."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    # By default, TensorBoard leaves out what it takes for events of an earlier run.
    events.purge_orphaned_data = False
    return {
        event.step: tf.make_ndarray(event.tensor_proto) for event in events.Reload().Tensors(name)
    }


EXPECTED = {STEPS * (epoch + 1): pytest.approx(1 / (epoch + 3)) for epoch in range(5)}


def test_every_epoch_has_its_logs_and_distances(tmp_path, validation):
    write_epochs(TensorBoardLogs(validation, str(tmp_path)), range(5), close=True)
    assert written(tmp_path) == EXPECTED
    pairs = pair_distances(validation.embeddings, validation.labels)
    for kind, distances in zip(("positive", "negative"), pairs, strict=True):
        (*_, histogram) = written(tmp_path, f"distances/{kind}_pairs").values()
        assert histogram[:, 2].sum() == len(distances)
        assert histogram[0, 0] == pytest.approx(distances.min())
        assert histogram[-1, 1] == pytest.approx(distances.max())


def test_embeddings_that_are_not_finite_have_no_distances(tmp_path, validation):
    validation.embeddings[0] = np.nan
    write_epochs(TensorBoardLogs(validation, str(tmp_path)), range(1), close=True)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["tensors"] == ["loss"]


def test_a_validation_that_comes_too_late_is_named(tmp_path):
    images, labels = np.ones((4, 8, 8, 1), "float32"), np.array([0, 0, 1, 1])
    logs = TensorBoardLogs(RetrievalValidation((images, labels)), str(tmp_path))
    with pytest.raises(ValueError, match="put RetrievalValidation before TensorBoardLogs"):
        write_epochs(logs, range(1), close=True)


@pytest.mark.parametrize("saved", [1, 3])
def test_events_after_the_checkpoint_are_removed(tmp_path, validation, saved):
    # Not closed, as if the process were killed.
    first = TensorBoardLogs(validation, str(tmp_path))
    write_epochs(first, range(4))
    second = resumed(validation, tmp_path, saved)
    write_epochs(second, [])
    assert written(tmp_path) == dict(list(EXPECTED.items())[:saved])
    second.on_train_end()
    write_epochs(resumed(validation, tmp_path, saved), range(saved, 5), close=True)
    assert written(tmp_path) == EXPECTED
    assert len(written(tmp_path, "distances/positive_pairs")) == 5


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_half_a_record_at_the_end_is_removed(tmp_path, validation, kept):
    write_epochs(TensorBoardLogs(validation, str(tmp_path)), range(3), close=True)
    (path,) = tmp_path.iterdir()
    whole = path.stat().st_size
    (tmp_path / "more").mkdir()
    write_epochs(TensorBoardLogs(validation, str(tmp_path / "more")), range(4), close=True)
    (longer,) = (tmp_path / "more").iterdir()
    content = longer.read_bytes()
    path.write_bytes(content[: whole + int(kept * (len(content) - whole))])
    longer.unlink()
    write_epochs(resumed(validation, tmp_path, 3), [3, 4], close=True)
    assert written(tmp_path) == EXPECTED
    # No record after the half one is lost.
    for path in tmp_path.glob("events*"):
        assert list(tf.data.TFRecordDataset(str(path)))


def test_a_training_that_starts_anew_removes_all_events(tmp_path, validation):
    (tmp_path / "notes.txt").write_text("mine")
    write_epochs(TensorBoardLogs(validation, str(tmp_path)), range(3), close=True)
    write_epochs(TensorBoardLogs(validation, str(tmp_path)), [0, 1], close=True)
    assert set(written(tmp_path)) == {STEPS, 2 * STEPS}
    assert len(list(tmp_path.glob("events*"))) == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_state_is_the_number_of_epochs(tmp_path, validation):
    logs = TensorBoardLogs(validation, str(tmp_path))
    write_epochs(logs, range(3), close=True)
    assert logs.state() == {"epochs": 3}
