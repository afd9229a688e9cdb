"""Logs of epochs, from which a resumed training goes on."""

from collections.abc import Mapping

import numpy as np

from ccp_dml.callbacks.resumable_callback import ResumableCallback


class ResumableLog(ResumableCallback):
    """Base class of callbacks that log every epoch; its state is how many they have logged.

    Attributes:
        epochs: Number of epochs that were logged.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reset()

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.epochs = epoch + 1

    def reset(self):
        self.epochs = 0

    def state(self) -> dict[str, np.ndarray]:
        return {"epochs": np.asarray(self.epochs)}

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.epochs = int(state["epochs"])
