"""The number of processors."""

import os


def count_processors() -> int:
    """Counts the processors that this process may use, such as those that `taskset` allows."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
