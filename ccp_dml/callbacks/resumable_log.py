"""Logs of epochs that a resumed training continues."""

from collections.abc import Mapping

import numpy as np

from ccp_dml.callbacks.resumable_callback import ResumableCallback


class ResumableLog(ResumableCallback):
    """Base class of callbacks that log every epoch; its state is the number of logged epochs.

    Attributes:
        epochs: Number of logged epochs.

    Raises:
        ValueError: When training begins, if the length of an epoch is unknown.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reset()

    def on_train_begin(self, logs=None):
        if self.params["steps"] is None:
            raise ValueError("the length of an epoch is unknown: pass steps_per_epoch to fit")
        super().on_train_begin(logs)

    def count_steps(self, epochs: int) -> int:
        """Returns the number of training steps in the first epochs."""
        return epochs * self.params["steps"]

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.epochs = epoch + 1

    def reset(self):
        self.epochs = 0

    def state(self) -> dict[str, np.ndarray]:
        return {"epochs": np.asarray(self.epochs)}

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.epochs = int(state["epochs"])
