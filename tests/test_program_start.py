"""What the command line shows before and while TensorFlow is imported, in its own processes."""

import contextlib
import os
import subprocess
import sys

import pytest

from ccp_dml import program_start
from ccp_dml.experiment.help import HELP_FILE, format_help
from ccp_dml.program_start import silence_startup_messages


def run(*arguments, **environment):
    variables = {key: each for key, each in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=variables | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_help_that_is_shipped_is_that_of_the_flags():
    message = "run python -m ccp_dml.experiment.help"
    assert HELP_FILE.read_text(encoding="utf-8") == format_help(), message


def test_the_help_imports_no_tensorflow():
    process = run("-X", "importtime", "-m", "ccp_dml.main", "--help")
    assert process.returncode == 0
    assert process.stdout == HELP_FILE.read_text(encoding="utf-8")
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert "ccp_dml.program_start" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "absl"}


def test_a_machine_without_a_gpu_logs_nothing(tmp_path):
    process = run("-m", "ccp_dml.main", "--mode=table", CUDA_VISIBLE_DEVICES="-1")
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("ccp_dml: --runs is missing")


def test_other_programs_are_quiet_too():
    process = run("-m", "ccp_dml.experiment.paper", "cub200_2011/c2_ccp", CUDA_VISIBLE_DEVICES="-1")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("# C2-CCP-L on CUB-200-2011.")


@pytest.mark.parametrize("is_given", [True, False])
def test_the_user_decides_what_tensorflow_logs(is_given, monkeypatch):
    # What `python -m ccp_dml.main --mode=table` imports the package with.
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "ccp_dml.main", "--mode=table"])
    monkeypatch.setattr(sys, "argv", ["-m", "--mode=table"])
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    if not is_given:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    silenced = []
    monkeypatch.setattr(
        program_start,
        "silence_startup_messages",
        lambda: silenced.append(True) or contextlib.nullcontext(),
    )
    program_start.prepare_program()
    assert bool(silenced) == (not is_given)
    assert (os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0") == is_given


def test_only_notes_are_held_back(capfd):
    lines = [
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1700000000.000000    4715 cudart_stub.cc:31] Could not find cuda drivers",
        "2025-09-17 14:44:05.157831: I external/cudart_stub.cc:32] Could not find cuda drivers",
        "E0000 00:00:1700000000.000000    4715 loader.cc:1] a library is broken",
        "If this is read, something else went wrong",
    ]
    with silence_startup_messages():
        os.write(2, "".join(f"{line}\n" for line in lines).encode())
    assert capfd.readouterr().err.splitlines() == lines[3:]
