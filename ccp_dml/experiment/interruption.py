"""SIGTERM and Ctrl-C: running work is saved before the process ends."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import keras

PARENT_VARIABLE = "CCP_DML_PARENT_PROCESS"
"""Environment variable with the process that started this one and waits for it."""

_SECONDS_BETWEEN_LOOKS = 1.0


class RunInterruptedError(Exception):
    """The run was asked to stop.

    Attributes:
        signal_number: The signal received.
    """

    def __init__(self, signal_number: int):
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


class Interruption:
    """Handles SIGTERM and SIGINT while it is entered.

    A signal raises `RunInterruptedError` at once or, within `defer`, is remembered until the
    code checks for it. A second signal always raises `KeyboardInterrupt`. Outside the main thread,
    where Python handles no signals, it does nothing.

    Attributes:
        signal_number: The signal that was received, `None` if there was none.
    """

    def __init__(self):
        self.signal_number: int | None = None
        self._is_deferred = False
        self._previous_handlers = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception):
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number
        if not self._is_deferred:
            raise RunInterruptedError(number)

    def is_requested(self) -> bool:
        """Whether a signal was received."""
        return self.signal_number is not None

    def check(self):
        """Raises `RunInterruptedError` if a signal was received."""
        if self.signal_number is not None:
            raise RunInterruptedError(self.signal_number)

    @contextlib.contextmanager
    def defer(self) -> Iterator[None]:
        """A context in which signals are only remembered."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False


class StopOnInterruption(keras.callbacks.Callback):
    """Ends `model.predict` with `RunInterruptedError` when a signal was received.

    Args:
        interruption: The handler of the signals.
    """

    def __init__(self, interruption: Interruption):
        super().__init__()
        self.interruption = interruption

    def on_predict_batch_end(self, batch, logs=None):
        self.interruption.check()


def end_with_parent():
    """Sends SIGTERM to this process when the one that started it has ended, even if killed.

    Does nothing if `PARENT_VARIABLE` does not name a process that waits for this one.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return

    def watch():
        while os.getppid() == int(parent):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
