"""Runs on JAX what is marked for both backends."""

import pathlib

import pytest

from tests.processes_on_jax import run_on_jax

TESTS = pathlib.Path(__file__).parent
# Two processes, so that two cores share them.
PARTS = {
    "losses and miners": [TESTS / "losses", TESTS / "miners"],
    "all others": [TESTS, f"--ignore={TESTS / 'losses'}", f"--ignore={TESTS / 'miners'}"],
}


def run_marked(marks, part):
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=", "-m", marks]
    code, report = run_on_jax("pytest", *options, *PARTS[part])
    assert code == 0, report


@pytest.mark.parametrize("part", PARTS)
def test_jax_passes_what_is_marked_for_both_backends(part):
    run_marked("both_backends and not slow", part)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_jax_passes_what_takes_longer_too(part):
    run_marked("both_backends and slow", part)
