"""The peak memory of a block of code."""

import os
import threading

import psutil


class PeakMemory:
    """The peak resident memory of the process within the context, minus that before it.

    Attributes:
        gigabytes: Set when the context ends.
    """

    def __enter__(self):
        self._process = psutil.Process(os.getpid())
        self._before = self._peak = self._process.memory_info().rss
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def _watch(self):
        while not self._done.wait(0.005):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def __exit__(self, *error):
        self._done.set()
        self._watcher.join()
        self.gigabytes = (self._peak - self._before) / 1e9
