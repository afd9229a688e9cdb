"""Stops training that has failed."""

from collections.abc import Mapping

import numpy as np
from absl import logging

from ccp_dml.callbacks.resumable_callback import ResumableCallback


class TerminateOnFailure(ResumableCallback):
    """Stops training when the loss is not finite or the embeddings have collapsed to one point.

    Reads the `loss` and the `val_embedding_spread` of an epoch, so put it after
    `RetrievalValidation`.

    Args:
        smallest_spread: Embeddings whose root mean square distance to their mean is below this
            count as collapsed. Defaults to 1e-3.
        patience: Number of epochs in a row with collapsed embeddings after which training stops:
            embeddings that are close together when training starts may still spread out. Defaults
            to 3.

    Attributes:
        failure: Why training was stopped and what to do, in one sentence; `None` if it was not
            stopped.
    """

    def __init__(self, smallest_spread: float = 1e-3, patience: int = 3):
        super().__init__()
        self.smallest_spread = smallest_spread
        self.patience = patience
        self.reset()

    def reset(self):
        self.failure = None
        self._collapsed_epochs = 0

    def state(self) -> dict[str, np.ndarray]:
        return {
            "failure": np.asarray(self.failure or ""),
            "collapsed_epochs": np.asarray(self._collapsed_epochs),
        }

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.failure = str(state["failure"]) or None
        self._collapsed_epochs = int(state["collapsed_epochs"])

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        loss, spread = logs.get("loss", 0.0), logs.get("val_embedding_spread", np.inf)
        if not np.isfinite(loss) or np.isnan(spread):
            what = "loss" if not np.isfinite(loss) else "embedding of a validation sample"
            self._stop(
                f"the {what} is not finite after epoch {epoch + 1}: try a smaller learning rate"
            )
            return
        self._collapsed_epochs = self._collapsed_epochs + 1 if spread < self.smallest_spread else 0
        if self._collapsed_epochs >= self.patience:
            self._stop(
                f"the embeddings have collapsed to one point (spread {spread:.1e} after epoch "
                f"{epoch + 1}): warm up longer on the batch loss, or use a smaller learning rate"
            )
        elif self._collapsed_epochs:
            logging.warning("The embeddings are collapsing: their spread is %.1e.", spread)

    def _stop(self, failure):
        self.failure = failure
        self.model.stop_training = True
        logging.error("Training stopped: %s.", failure)
