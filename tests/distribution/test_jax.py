"""Training in several JAX processes; see `on_eight_devices.py` for one process."""

import numpy as np
import pytest

from tests.distribution.processes import run_jax_processes, run_with_jax
from tests.distribution.training import check_equal

TRAINING = "tests.distribution.jax_training"
CASE = "ccp+xbm+dvml"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_two_processes_train_as_one_and_are_equal(devices, tmp_path):
    paths = [tmp_path / f"{name}.npz" for name in ("one", "chief", "other")]
    run_with_jax(TRAINING, paths[0], CASE, "--strategy=none", devices=1, JAX_ENABLE_X64="1")
    run_jax_processes(
        TRAINING,
        *([path, CASE, "--strategy=data_parallel"] for path in paths[1:]),
        devices=devices,
        JAX_ENABLE_X64="1",
    )
    one, chief, other = map(np.load, paths)
    check_equal(chief, one, CASE)
    different = [name for name in chief if chief[name].tobytes() != other[name].tobytes()]
    assert different == ["is_chief"]
    assert chief["is_chief"]
    assert chief["num_workers"] == 2
    assert chief["num_devices"] == 2 * devices
    np.testing.assert_array_equal(chief["sum"], [[np.nan, -1 / 3]] * 2)
