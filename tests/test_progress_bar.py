import io

import pytest

from ccp_dml.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves forward, in seconds."""
    seconds = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: seconds[0])
    monkeypatch.setattr(ProgressBar, "monitor_interval", 0)
    return seconds


def work(file, clock, steps, **options):
    with ProgressBar(total=steps, desc="plain", unit="step", file=file, **options) as bar:
        for _ in range(steps):
            clock[0] += 1
            bar.set_postfix({"loss": "0.5"}, refresh=False)
            bar.update()


def test_a_log_has_a_line_a_minute(clock):
    log = io.StringIO()
    work(log, clock, steps=600, mininterval=0.5, dynamic_ncols=True)
    text = log.getvalue()
    assert "\r" not in text
    lines = text.splitlines()
    # At the start, each minute and at the end.
    assert 10 <= len(lines) <= 12
    assert lines[0].startswith("plain: 0/600")
    assert lines[-1] == "plain: 600/600, 10:00<00:00,  1.00step/s, loss=0.5"
    assert text.endswith("0.5\n")


def test_short_work_leaves_no_line_in_a_log(clock):
    log = io.StringIO()
    work(log, clock, steps=59, delay=1, leave=False)
    work(log, clock, steps=59, delay=1)
    assert log.getvalue() == ""


def test_long_work_with_a_delay_is_in_a_log(clock):
    log = io.StringIO()
    work(log, clock, steps=130, delay=1, leave=False)
    counts = [int(line.split()[1].partition("/")[0]) for line in log.getvalue().splitlines()]
    assert len(counts) == 2
    assert counts[0] == pytest.approx(60, abs=1)


def test_a_terminal_has_one_line_that_is_rewritten(clock):
    terminal = Terminal()
    work(terminal, clock, steps=600, mininterval=0.5)
    text = terminal.getvalue()
    assert text.count("\r") > 100
    assert text.count("\n") == 1


def test_the_output_of_a_notebook_is_rewritten_too(clock):
    output = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    work(output, clock, steps=600, mininterval=0.5)
    assert output.getvalue().count("\r") > 100
