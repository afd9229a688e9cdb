"""Logs for TensorBoard."""

import contextlib

import numpy as np
import tensorflow as tf
from etils import epath
from tensorboard.compat.proto import event_pb2

from ccp_dml.atomic_write import atomic_write
from ccp_dml.callbacks.resumable_log import ResumableLog
from ccp_dml.callbacks.retrieval_validation import RetrievalValidation
from ccp_dml.evaluation import pair_distances


class TensorBoardLogs(ResumableLog):
    """Writes the logs of every epoch and histograms of the distances between validation samples.

    They are plotted over training steps, each epoch at its last step.

    Unlike `keras.callbacks.TensorBoard`, it does not write or wait between the steps of an epoch.
    Put it after the callbacks that add metrics to the logs. When training starts or resumes, events
    of later epochs are removed from the folder.

    Args:
        validation: The validation whose embeddings are used.
        log_dir: Folder of the TensorBoard logs.

    Raises:
        ValueError: When an epoch ends and `validation` has not measured anything yet.
    """

    _writer: tf.summary.SummaryWriter

    def __init__(self, validation: RetrievalValidation, log_dir: str):
        super().__init__()
        self.validation = validation
        self.log_dir = log_dir

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        _keep_events(epath.Path(self.log_dir), self.count_steps(self.epochs))
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        embeddings, labels = self.validation.embeddings, self.validation.labels
        if embeddings is None:
            raise ValueError(
                "nothing has been validated yet: put RetrievalValidation before TensorBoardLogs"
            )
        with self._writer.as_default(step=self.count_steps(epoch + 1)):
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value)
            if np.isfinite(embeddings).all():
                positive, negative = pair_distances(embeddings, labels)
                tf.summary.histogram("distances/positive_pairs", positive)
                tf.summary.histogram("distances/negative_pairs", negative)
        # Events must be on disk before a checkpoint counts their epoch as logged.
        self._writer.flush()
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        self._writer.close()


def _keep_events(folder, steps):
    """Keeps the events of the first steps; removes the files if there are none."""
    if not folder.exists():
        return
    for path in folder.glob("events.out.tfevents.*"):
        if not steps:
            path.unlink()
            continue
        with atomic_write(path) as unfinished, tf.io.TFRecordWriter(str(unfinished)) as writer:
            for record in _whole_records(path):
                if event_pb2.Event.FromString(record).step <= steps:
                    writer.write(record)


def _whole_records(path):
    """Reads the records of a file up to its end, or to where a killed process stopped writing."""
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    with contextlib.suppress(tf.errors.DataLossError):
        yield from records
