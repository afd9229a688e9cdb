"""The learning rate in the logs."""

import keras


class LearningRateLog(keras.callbacks.Callback):
    """Adds the `learning_rate` of the next step to the logs of every epoch.

    Use it with a `keras.optimizers.schedules.LearningRateSchedule`; `ReduceLROnPlateau` adds it on
    its own. Put it before the callbacks that write logs.
    """

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(
                keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            )
