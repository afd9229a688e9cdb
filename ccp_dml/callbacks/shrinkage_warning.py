"""Warns when proxies draw the embeddings of an untrained network together."""

from collections.abc import Mapping

import numpy as np
from absl import logging

from ccp_dml.callbacks.resumable_callback import ResumableCallback


class ShrinkageWarning(ResumableCallback):
    """Warns once if proxies undo what the warm-up has learned.

    Proxies that are chosen while a network knows little lie close together, and attract the
    embeddings: these spread less than before, and retrieval stagnates or gets worse. The warning
    compares epochs with the last one of the warm-up, and says what helps.

    Reads `round`, the metric and `val_embedding_spread` from an epoch's logs, so it comes after
    `RetrievalValidation` and `AlternatingProjections`. Without a warm-up it has nothing to compare
    with and does nothing.

    Args:
        monitor: The metric, of which larger values are better. Defaults to `"val_map_at_r"`.
        largest_shrinkage: The part of the spread at the end of the warm-up below which it counts as
            shrunk. Defaults to 2/3.
        smallest_gain: Retrieval counts as no better when the metric is less than this multiple of
            its value at the end of the warm-up. Defaults to 1.2.

    Attributes:
        warning: What the warning says; `None` if there was no cause for one.

    Example:

    >>> callback = ShrinkageWarning()
    >>> callback.on_train_begin()
    >>> callback.on_epoch_end(0, {"round": -1, "val_map_at_r": 0.3, "val_embedding_spread": 0.4})
    >>> callback.on_epoch_end(1, {"round": 0, "val_map_at_r": 0.2, "val_embedding_spread": 0.1})
    >>> callback.warning is None
    False
    """

    def __init__(
        self,
        monitor: str = "val_map_at_r",
        largest_shrinkage: float = 2 / 3,
        smallest_gain: float = 1.2,
    ):
        super().__init__()
        self.monitor = monitor
        self.largest_shrinkage = largest_shrinkage
        self.smallest_gain = smallest_gain
        self.reset()

    def reset(self):
        self.warning: str | None = None
        self._metric = self._spread = float("nan")

    def state(self) -> dict[str, np.ndarray]:
        return {
            "warning": np.asarray(self.warning or ""),
            "metric": np.asarray(self._metric),
            "spread": np.asarray(self._spread),
        }

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.warning = str(state["warning"]) or None
        self._metric = float(state["metric"])
        self._spread = float(state["spread"])

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        metric = logs.get(self.monitor, float("nan"))
        spread = logs.get("val_embedding_spread", float("nan"))
        if logs.get("round", 0) < 0:
            self._metric, self._spread = metric, spread
            return
        # Comparisons with NaN, as without a warm-up, are false.
        has_shrunk = spread < self.largest_shrinkage * self._spread
        has_not_improved = metric < self.smallest_gain * self._metric
        if self.warning is None and has_shrunk and has_not_improved:
            self.warning = (
                "the proxies have drawn the embeddings together since the warm-up: after epoch "
                f"{epoch + 1} their spread is {spread:.2g} (it was {self._spread:.2g}), and "
                f"{self.monitor} is {metric:.3g} (it was {self._metric:.3g}). To keep them apart, "
                "use a batch loss weight of 1, a longer warm-up or a limit on the length of rounds"
            )
            logging.warning("Careful: %s.", self.warning)
