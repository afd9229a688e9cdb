"""Runs on JAX the tests marked for both backends, and those of JAX's devices."""

import pathlib

import pytest

from tests.processes_on_jax import WITHOUT_EMITTERS, run_on_jax

MARK = "both_backends"
TESTS = pathlib.Path(__file__).parent
ROOMS = ["losses", "miners", "callbacks", "models"]
# Not collected with TensorFlow.
OF_JAX_ALONE = TESTS / "distribution" / "on_eight_devices.py"
OTHERS = [OF_JAX_ALONE, TESTS, *(f"--ignore={TESTS / room}" for room in ROOMS)]


def run_marked(marks, *folders, **environment):
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-m", marks]
    code, report = run_on_jax("pytest", *options, *folders, **environment)
    assert code == 0, report


def test_jax_passes_what_is_marked_for_both_backends():
    # In one process, because importing both backends takes many seconds; and only from the files
    # that have such tests, because collecting all files takes as long.
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if MARK in path.read_text("utf-8")]
    run_marked(f"{MARK} and not slow", *files, OF_JAX_ALONE, **WITHOUT_EMITTERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "folders", [*([TESTS / room] for room in ROOMS), OTHERS], ids=[*ROOMS, "others"]
)
def test_jax_passes_what_takes_longer_too(folders):
    run_marked("both_backends and slow", *folders)
