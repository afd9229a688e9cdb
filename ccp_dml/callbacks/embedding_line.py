"""Progress of embedding on one line of the terminal."""

import keras

from ccp_dml.progress_bar import ProgressBar


class EmbeddingLine(keras.callbacks.Callback):
    """Shows the progress of `model.predict` on one line if it takes more than a second."""

    _bar: ProgressBar

    def on_predict_begin(self, logs=None):
        total = (self.params or {}).get("steps")
        self._bar = ProgressBar(total=total, desc="embedding", unit="batch", delay=1, leave=False)

    def on_predict_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_predict_end(self, logs=None):
        self._bar.close()
