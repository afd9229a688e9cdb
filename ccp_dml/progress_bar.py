"""How far long work is: a line that is rewritten in a terminal, and a line a minute in a log."""

import sys

from tqdm import tqdm

_LOG_SECONDS = 60.0
_LOG_FORMAT = "{desc}: {n_fmt}/{total_fmt}, {elapsed}<{remaining}, {rate_fmt}{postfix}"


class ProgressBar(tqdm):
    """tqdm's progress bar, which adds whole lines where what it writes to is no terminal.

    There it writes at most a line a minute, and one more at the end of what is to `leave` a line;
    with a `delay`, which keeps short work silent, the first comes after a minute. Notebooks count
    as terminals: they rewrite lines too.

    Args:
        *args: See `tqdm.tqdm`.
        **kwargs: See `tqdm.tqdm`; `file` defaults to the standard error.
    """

    def __init__(self, *args, **kwargs):
        file = kwargs.get("file") or sys.stderr
        self._logs = not file.isatty() and "ipykernel" not in sys.modules
        if self._logs:
            kwargs |= {
                "mininterval": _LOG_SECONDS,
                "maxinterval": _LOG_SECONDS,
                "delay": _LOG_SECONDS if kwargs.get("delay") else 0,
                "dynamic_ncols": False,
                "bar_format": _LOG_FORMAT,
            }
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Shows the present state, or a message in its place."""
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
            # The line has its end already.
            self.leave = False
        super().close()
