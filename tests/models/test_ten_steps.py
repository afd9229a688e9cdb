"""Ten steps of every method are the same on both backends."""

import numpy as np
import pytest

from ccp_dml import backend
from tests.models.ten_steps import CASES, train_all
from tests.processes_on_jax import run_on_jax

QUICK = ["frozen batch normalisation and sampled classes with LazyAdam"]
OTHERS = [name for name in CASES if name not in QUICK]


@pytest.fixture(autouse=True)
def random_numbers(monkeypatch):
    # Restores them after the test, because `train_all` replaces them.
    for name in ("integers", "uniform", "normal"):
        monkeypatch.setattr(backend, name, getattr(backend, name))


def assert_same_steps(names, folder):
    code, report = run_on_jax("tests.models.ten_steps", folder / "jax.npz", *names)
    assert code == 0, report
    arrays, expected = np.load(folder / "jax.npz"), train_all(names)
    assert sorted(arrays) == sorted(expected)
    for name, array in expected.items():
        if "/before/" in name:
            np.testing.assert_array_equal(arrays[name], array, err_msg=name)
        else:
            np.testing.assert_allclose(arrays[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


def test_ten_steps_agree(tmp_path):
    assert_same_steps(QUICK, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_ten_steps_of_every_method_agree(part, tmp_path):
    assert_same_steps(OTHERS[part::6], tmp_path)
