"""Command lines of this package in separate processes, several at a time."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple, TextIO

from etils import epath

_SECONDS_BETWEEN_LOOKS = 0.2


class Task(NamedTuple):
    """A command for a process.

    Attributes:
        name: Name of the task.
        arguments: Arguments of Python.
        folder: Folder for `log.txt` of the process, if there are several at a time.
    """

    name: str
    arguments: Sequence[str]
    folder: epath.Path


class EndedTask(NamedTuple):
    """How a process ended.

    Attributes:
        name: Name of the task.
        return_code: Exit code of the process; the negative number of the signal if one has killed
            it.
        log: Path of its output; `None` if that went to the console.
    """

    name: str
    return_code: int
    log: str | None


def run_side_by_side(
    next_task: Callable[[], Task | None], environments: Sequence[Mapping[str, str]]
) -> Generator[EndedTask, None, None]:
    """Runs tasks in processes until there are none left.

    A single process at a time writes to this one's console, several to `log.txt` in their folders.
    An exception, such as an interruption, or closing the iterator, is passed on to the processes,
    which save their work.

    Args:
        next_task: Function that returns the next task. It is called whenever a process can be
            started, even after it returned `None`, which means that there is none at the moment.
        environments: The environment of each of the processes that run at a time.

    Yields:
        How a task ended, as soon as it has.
    """
    running: dict[int, tuple[Task, subprocess.Popen, TextIO | None]] = {}
    try:
        while True:
            for slot, environment in enumerate(environments):
                if slot not in running and (task := next_task()) is not None:
                    log = _open_log(task.folder) if len(environments) > 1 else None
                    running[slot] = (task, _start(task.arguments, environment, log), log)
            if not running:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for slot, (task, process, log) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[slot]
                if log is not None:
                    log.close()
                yield EndedTask(task.name, process.returncode, None if log is None else log.name)
    finally:
        _stop([process for _, process, _ in running.values()])


def _open_log(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "log.txt").open("a")


def _start(arguments, environment, log):
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log and subprocess.STDOUT,
        env=environment,
        # Ctrl-C in the terminal goes to this process only, which passes it on once.
        start_new_session=True,
    )


def _stop(processes):
    try:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise
