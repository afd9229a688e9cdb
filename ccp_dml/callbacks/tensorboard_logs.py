"""Logs for TensorBoard."""

import keras
import numpy as np
import tensorflow as tf

from ccp_dml.callbacks.retrieval_validation import RetrievalValidation
from ccp_dml.evaluation import pair_distances


class TensorBoardLogs(keras.callbacks.Callback):
    """Writes the logs of every epoch and histograms of the distances between validation samples.

    Unlike `keras.callbacks.TensorBoard`, it writes nothing and waits for nothing between the steps
    of an epoch. Put it after the callbacks that add metrics to the logs.

    Args:
        validation: The validation whose embeddings are used.
        log_dir: Folder of the TensorBoard logs.
    """

    def __init__(self, validation: RetrievalValidation, log_dir: str):
        super().__init__()
        self.validation = validation
        self.log_dir = log_dir
        self._writer = None

    def on_train_begin(self, logs=None):
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        embeddings = self.validation.embeddings
        with self._writer.as_default(step=epoch):
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value)
            if np.isfinite(embeddings).all():
                positive, negative = pair_distances(embeddings, self.validation.labels)
                tf.summary.histogram("distances/positive_pairs", positive)
                tf.summary.histogram("distances/negative_pairs", negative)

    def on_train_end(self, logs=None):
        self._writer.close()
