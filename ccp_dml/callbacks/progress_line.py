"""Progress on one line of the terminal."""

import keras

from ccp_dml.progress_bar import ProgressBar


class ProgressLine(keras.callbacks.Callback):
    """Shows steps, speed, time left, loss, validation metric and round on one line.

    Put it after the callbacks that add metrics to the logs.

    Args:
        description: Text that says what is trained.
        total_steps: Number of steps if training does not stop early.
        initial_step: Number of steps taken before training was resumed. Defaults to 0.
    """

    def __init__(self, description: str, total_steps: int, initial_step: int = 0):
        super().__init__()
        self.description = description
        self.total_steps = total_steps
        self.initial_step = initial_step
        # Shows nothing until training begins.
        self._bar = ProgressBar(disable=True)
        self._steps_in_epoch = 0

    def on_train_begin(self, logs=None):
        self._bar = ProgressBar(
            total=self.total_steps,
            initial=self.initial_step,
            desc=self.description,
            unit="step",
            mininterval=0.5,
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self._steps_in_epoch = 0

    # For callbacks that have an `on_train_batch_end`, Keras reads the logs after every step.
    def on_train_batch_begin(self, batch, logs=None):
        self._show_steps(batch)

    def _show_steps(self, steps_in_epoch):
        self._bar.update(steps_in_epoch - self._steps_in_epoch)
        self._steps_in_epoch = steps_in_epoch

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self._show_steps(self.params["steps"] or self._steps_in_epoch + 1)
        shown = {"loss": "loss", "val_map_at_r": "val MAP@R", "round": "round"}
        self._bar.set_postfix(
            {name: f"{logs[key]:.4g}" for key, name in shown.items() if key in logs}, refresh=False
        )

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Ends the line, even if training ends with an exception."""
        self._bar.close()
