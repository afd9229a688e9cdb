"""Progress of long work: a line that is rewritten in a terminal, or a line per minute in a log."""

import sys

from tqdm import tqdm

_LOG_SECONDS = 60.0
_LOG_FORMAT = "{desc}: {n_fmt}/{total_fmt}, {elapsed}<{remaining}, {rate_fmt}{postfix}"


class ProgressBar(tqdm):
    """tqdm's progress bar, which writes separate lines if its output is not a terminal.

    These are at most one per minute, and one more at the end with `leave`; with a `delay`, which
    keeps short work silent, the first comes after a minute. Notebooks count as terminals, because
    they rewrite lines too.

    Args:
        *args: See `tqdm.tqdm`.
        **kwargs: See `tqdm.tqdm`; `file` defaults to the standard error.
    """

    def __init__(self, *args, **kwargs):
        file = kwargs.get("file") or sys.stderr
        is_notebook = type(file).__module__.startswith("ipykernel")
        self._logs = not file.isatty() and not is_notebook
        if self._logs:
            kwargs |= {
                "mininterval": _LOG_SECONDS,
                "maxinterval": _LOG_SECONDS,
                "delay": _LOG_SECONDS if kwargs.get("delay") else 0,
                "dynamic_ncols": False,
                "bar_format": _LOG_FORMAT,
            }
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Shows the current state, or a message in its place."""
        if not self._logs:
            return super().display(msg, pos)
        # tqdm clears lines with empty messages.
        if msg != "":
            print(str(self) if msg is None else msg, file=self.fp, flush=True)
        return False

    def close(self):
        """Ends the line."""
        if self._logs and not self.disable:
            if self.leave and self.last_print_t >= self.start_t + self.delay:
                self.display()
            # The line has already ended.
            self.leave = False
        super().close()
