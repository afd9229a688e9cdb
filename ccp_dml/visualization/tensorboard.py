"""Logs for TensorBoard."""

import keras
import numpy as np
import tensorflow as tf

from ccp_dml.evaluation import RetrievalValidation
from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import pair_masks

_MOST_SAMPLES = 1000


def pair_distances(
    embeddings: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the positive and of the negative pairs of at most 1,000 samples.

    Args:
        embeddings: `(n, d)`.
        labels: `(n,)`.
        seed: Fixes which samples are taken of a larger number. Defaults to 0.

    Returns:
        Two vectors of Euclidean distances.
    """
    embeddings, labels = np.asarray(embeddings, "float32"), np.asarray(labels)
    if len(labels) > _MOST_SAMPLES:
        # Whole classes, so that positive pairs remain however many classes there are.
        classes = np.unique(labels)
        shuffled = np.random.default_rng(seed).permutation(len(classes))
        rank = shuffled[np.searchsorted(classes, labels)]
        chosen = np.argsort(rank, kind="stable")[:_MOST_SAMPLES]
        embeddings, labels = embeddings[chosen], labels[chosen]
    distances = euclidean_distances(embeddings, embeddings).numpy()
    positives, negatives = (mask.numpy() for mask in pair_masks(labels))
    return distances[positives], distances[negatives]


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
