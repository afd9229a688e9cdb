"""Validation by retrieval while a model trains."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from ccp_dml.callbacks.resumable_callback import ResumableCallback, pack_arrays, unpack_arrays
from ccp_dml.checks import check_one_of, check_whole_number
from ccp_dml.evaluation import Samples, embed, embedding_spread, retrieval_metrics, unpack_samples
from ccp_dml.optimizers import averaged_weights

MONITORS = ("map_at_r", "r_precision", "precision_at_1")
"""The metrics that can choose the best weights."""


class RetrievalValidation(ResumableCallback):
    """Measures retrieval on validation samples after every epoch and keeps the best weights.

    Adds `val_precision_at_1`, `val_r_precision`, `val_map_at_r` and `val_embedding_spread` to the
    epoch's logs. Put it before `AlternatingProjections`, loggers, and any other callback that reads
    them. The metrics are NaN if an embedding is not finite.

    If the optimizer keeps moving averages of the weights (`use_ema` of Keras's optimizers), these
    are measured and kept; training continues from the weights themselves.

    Args:
        data: The validation samples: labelled samples in memory or in files, such as
            `ccp_dml.data.split_by_class` returns, or a pair of inputs, an array or a
            `tf.data.Dataset` of batches of them, and labels `(n,)`.
        monitor: The metric by which weights are best. Defaults to `"map_at_r"`.
        patience: Training stops when the metric has not improved for this many epochs. Defaults to
            `None`: it does not stop.
        restore_best_weights: Whether the network gets its best weights when training ends. Defaults
            to `True`.
        batch_size: Number of inputs embedded at a time, if they are not in batches. Defaults to
            256.
        gallery: The samples in which the validation samples are searched, like `data`. Defaults to
            `None`: they are searched among themselves.
        predict_callbacks: Passed to `model.predict` when samples are embedded. Defaults to none.

    Attributes:
        best: The best value of the metric.
        best_epoch: The epoch it was measured after, from 0.
        embeddings: The embeddings of the last validation `(n, d)`.

    Raises:
        ValueError: If `monitor` is unknown, `patience` is not a positive whole number, or samples
            do not have one label each.

    Example:

    ```python
    train, held_out = split_by_class(load("glyphs").train)
    validation = RetrievalValidation(held_out, patience=60)
    model.fit(batches, steps_per_epoch=25, epochs=1000, callbacks=[validation])
    ```
    """

    def __init__(
        self,
        data: Samples,
        monitor: str = "map_at_r",
        patience: int | None = None,
        restore_best_weights: bool = True,
        batch_size: int = 256,
        gallery: Samples | None = None,
        predict_callbacks: Sequence[keras.callbacks.Callback] = (),
    ):
        super().__init__()
        # Once, because a data set whose pipeline is built anew is traced anew.
        self._inputs, self.labels = unpack_samples(data, batch_size)
        self._gallery_inputs, self._gallery_labels = (
            (None, None) if gallery is None else unpack_samples(gallery, batch_size)
        )
        check_one_of("monitor", monitor, MONITORS)
        if patience is not None:
            check_whole_number("patience", patience, 1)
        self.monitor = monitor
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.batch_size = batch_size
        self.predict_callbacks = tuple(predict_callbacks)
        self.embeddings = None
        self.reset()

    def reset(self):
        self.best = -np.inf
        self.best_epoch = -1
        self._best_weights = None

    def state(self) -> dict[str, np.ndarray]:
        return {
            "best": np.asarray(self.best),
            "best_epoch": np.asarray(self.best_epoch),
            **pack_arrays("best_weights", self._best_weights),
        }

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.best = float(state["best"])
        self.best_epoch = int(state["best_epoch"])
        self._best_weights = unpack_arrays("best_weights", state)

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model.optimizer, self._network().variables):
            metrics = self.measure()
            is_best = metrics[self.monitor] > self.best
            if is_best:
                self._best_weights = self._network().get_weights()
        if logs is not None:
            logs.update({f"val_{name}": value for name, value in metrics.items()})
        if is_best:
            self.best = metrics[self.monitor]
            self.best_epoch = epoch
        elif self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.restore_best_weights and self._best_weights is not None:
            self._network().set_weights(self._best_weights)

    def _network(self):
        """The network whose weights are restored, without proxies and reference points."""
        return getattr(self.model, "embedding_model", self.model)

    def measure(self) -> dict[str, float]:
        """Measures the metrics of the model in its current state."""
        self.embeddings = self._embed(self._inputs)
        gallery = None
        if self._gallery_inputs is not None:
            gallery = self._embed(self._gallery_inputs)
        embedded = [each for each in (self.embeddings, gallery) if each is not None]
        if not all(np.isfinite(embeddings).all() for embeddings in embedded):
            return dict.fromkeys((*MONITORS, "embedding_spread"), float("nan"))
        metrics = retrieval_metrics(
            self.embeddings, self.labels, gallery, self._gallery_labels, recall_at=()
        )
        return {**metrics, "embedding_spread": embedding_spread(self.embeddings)}

    def _embed(self, inputs):
        return embed(self.model, inputs, self.batch_size, self.predict_callbacks)
