"""A CSV file with the logs of every epoch."""

import csv
import io
import os

import keras
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.callbacks.resumable_log import ResumableLog


class HistoryLog(ResumableLog, keras.callbacks.CSVLogger):
    """Writes the logs of every epoch to a CSV file, which a resumed training continues.

    The column `step` is the number of training steps up to the end of the epoch.

    Put it after the callbacks that add metrics to the logs. If training resumes from an epoch that
    the file already contains, the rows from that epoch on are removed.

    Args:
        path: The file; any path that `etils.epath` knows.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(os.fspath(path), append=True)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        _keep_rows(epath.Path(self.filename), self.epochs)
        # Keras sets it only for a file that exists, and keeps the value from an earlier training.
        self.append_header = True
        keras.callbacks.CSVLogger.on_train_begin(self, logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, {**(logs or {}), "step": self.count_steps(epoch + 1)})


def _keep_rows(path, epochs):
    """Keeps the header and the rows of the first epochs; removes the file if there are none."""
    if not path.exists():
        return
    if not epochs:
        path.unlink()
        return
    kept = io.StringIO()
    writer = csv.writer(kept)
    header, *rows = csv.reader(io.StringIO(path.read_text(), newline=""))
    writer.writerow(header)
    # A process that was killed may have left half a row.
    writer.writerows(row for row in rows[:epochs] if len(row) == len(header))
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(kept.getvalue().encode())
