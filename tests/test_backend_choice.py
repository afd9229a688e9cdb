"""Which backends can be chosen, in processes that have not imported Keras yet."""

import os
import subprocess
import sys

import pytest

from ccp_dml.backend_choice import check_backend_choice


def run(backend, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_ends_in_one_line():
    process = run("torch", "-m", "ccp_dml.main", "--workdir=/tmp/digits")
    assert process.returncode == 2
    line = "ccp_dml: KERAS_BACKEND must be one of tensorflow, jax; got torch\n"
    assert (process.stdout, process.stderr) == ("", line)


def test_an_import_is_an_error_that_names_the_backends():
    process = run("torch", "-c", "import ccp_dml")
    assert process.returncode == 1
    *_, line = process.stderr.splitlines()
    assert line == "ImportError: KERAS_BACKEND must be one of tensorflow, jax; got torch"


def test_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'not installed: pip install "ccp_dml\[jax\]"'):
        check_backend_choice()


@pytest.mark.parametrize("backend", ["", "tensorflow", "jax"])
def test_backends_that_can_be_chosen(backend, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    check_backend_choice()
