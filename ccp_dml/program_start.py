"""Steps that the package's programs take before TensorFlow is imported.

`python -m ccp_dml.main` imports the package, and with it TensorFlow, before `ccp_dml.main`.
"""

import contextlib
import glob
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator

_HELP = pathlib.Path(__file__).parent / "experiment" / "help.txt"
# These exist only in a clone; they are not installed with the package.
_SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "experiments"
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# The second is for the Windows Subsystem for Linux.
_NVIDIA_DEVICES = "/dev/nvidia[0-9]*", "/dev/dxg"
# Messages that TensorFlow's libraries log while they are loaded, before they read the log level.
_NOTES = re.compile(rb"I\d{4} |[-\d]+ [:.\d]+: I |WARNING: All log messages before absl::")


def prepare_program():
    """Silences TensorFlow in programs of the package.

    These are `python -m` with one of its modules, and the scripts in `experiments/`.

    For `ccp_dml.main --help` it prints the help and ends the process.

    A user's own `TF_CPP_MIN_LOG_LEVEL` is left as it is. Without it, TensorFlow's C++ code logs
    only errors; without an NVIDIA GPU it logs nothing, because it would report the missing GPU as
    an error. Failures are still raised in Python.
    """
    module = _find_program()
    if module.partition(".")[0] != "ccp_dml" and not _is_script():
        return
    if module == "ccp_dml.main" and "--help" in sys.argv:
        print(_HELP.read_text(encoding="utf-8"), end="")
        raise SystemExit
    if _LOG_LEVEL in os.environ:
        return
    os.environ[_LOG_LEVEL] = "2" if any(map(glob.glob, _NVIDIA_DEVICES)) else "3"
    with silence_startup_messages():
        import tensorflow  # noqa: F401


def _find_program():
    """Returns the module that `python -m` runs; an empty string if there is none."""
    # While Python searches for the module to run, `sys.argv` has an option in place of its path.
    module = sys.orig_argv[-len(sys.argv)] if sys.argv[:1] == ["-m"] else ""
    return module.removeprefix("-m")


def _is_script():
    # The first argument is no path in an interactive Python, after `-c`, or for standard input.
    return any(
        path.endswith(".py") and pathlib.Path(path).resolve().is_relative_to(_SCRIPTS)
        for path in sys.argv[:1]
    )


@contextlib.contextmanager
def silence_startup_messages() -> Iterator[None]:
    """Holds back standard error, and then writes all of it except mere notes."""
    try:
        terminal = os.dup(2)
    except OSError:
        # There is no standard error.
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not _NOTES.match(line):
                    os.write(2, line)
