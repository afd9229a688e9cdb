"""What trains on the devices of JAX, in processes with Keras's backend JAX and virtual devices."""

import re

import numpy as np
import pytest

from tests.cases import CASES
from tests.distribution.compiled_steps import EMBEDDING_SIZE, NUM_CLASSES
from tests.distribution.processes import QUICK_TO_COMPILE, run_jax_processes, run_with_jax

TRAINING = "tests.distribution.jax_training"
ALL_PARTS = "ccp+xbm+dvml"
STRATEGIES = ["none", "data_parallel", "model_parallel:2", "model_parallel:8"]
# Four devices divide a batch, and two the proxies: also what data_parallel does.
FEW_STRATEGIES = ["none", "model_parallel:2"]


def test_models_and_data_on_eight_devices():
    options = ["-q", "-n0", "-p", "no:cacheprovider", "--import-mode=importlib"]
    run_with_jax("pytest", "tests/distribution/on_eight_devices.py", *options, **QUICK_TO_COMPILE)


def check_equal(found, expected, case):
    for name in [each for each in expected if each.startswith(case)]:
        if found[name].size:
            np.testing.assert_allclose(
                found[name], expected[name], rtol=0, atol=1e-5, err_msg=f"{case} {name}"
            )
    # Two rounds ended, the rate was lowered, and there was something to learn.
    assert found[f"{case}/history/round"][-1] == 2
    assert found[f"{case}/history/learning_rate"][-1] < 0.02
    assert np.ptp(found[f"{case}/history/val_map_at_r"]) > 0.005


@pytest.mark.parametrize(
    ("case", "strategies"),
    [
        (ALL_PARTS, FEW_STRATEGIES),
        *(
            pytest.param(case, STRATEGIES, marks=pytest.mark.slow)
            for case in ("ccp", "ccp+xbm", "ccp+dvml", "ccp+hard", ALL_PARTS)
        ),
    ],
)
def test_eight_devices_train_as_one(case, strategies, tmp_path):
    options = ["--cases", case, "--strategies", *strategies]
    run_with_jax(TRAINING, tmp_path, *options, JAX_ENABLE_X64="1", **QUICK_TO_COMPILE)
    one, *others = [np.load(tmp_path / f"{name}.npz") for name in strategies]
    weights = [name for name in one if name.startswith(f"{case}/weights")]
    assert "float32" not in {one[name].dtype.name for name in weights}
    for found in others:
        check_equal(found, one, case)
        # They did not all compute on one device, whose bits they would have.
        assert any((found[name] != one[name]).any() for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_two_processes_train_as_one_and_are_equal(devices, tmp_path):
    for index in range(2):
        (tmp_path / str(index)).mkdir()
    options = ["--cases", ALL_PARTS, "--strategies"]
    run_with_jax(TRAINING, tmp_path, *options, "none", devices=1, JAX_ENABLE_X64="1")
    run_jax_processes(
        TRAINING,
        *([tmp_path / str(index), *options, "data_parallel"] for index in range(2)),
        devices=devices,
        JAX_ENABLE_X64="1",
    )
    chief, other = [np.load(tmp_path / str(index) / "data_parallel.npz") for index in range(2)]
    check_equal(chief, np.load(tmp_path / "none.npz"), ALL_PARTS)
    different = [name for name in chief if chief[name].tobytes() != other[name].tobytes()]
    assert different == ["is_chief"]
    assert chief["is_chief"]
    assert chief["num_workers"] == 2
    assert chief["num_devices"] == 2 * devices
    np.testing.assert_array_equal(chief["sum"], [[np.nan, -1 / 3]] * 2)


METHODS = [
    "plain",
    "ccp",
    "ccp+sampled",
    "xbm",
    "ccp+xbm",
    "dvml",
    "ccp+dvml",
    "xbm+dvml",
    "ccp+xbm+dvml",
    "ccp+xbm+dvml+sampled",
]
STEPS = [
    *(f"plain:{case}" for case in CASES if case != "contrastive"),
    *(f"{method}:contrastive" for method in METHODS),
]
FEW_STEPS = ["plain:distance_weighted", "ccp+sampled:contrastive", "ccp+xbm+dvml:contrastive"]


@pytest.mark.parametrize(
    ("steps", "strategy", "model_devices"),
    [
        (FEW_STEPS, "model_parallel", 2),
        pytest.param(STEPS, "none", 1, marks=pytest.mark.slow),
        pytest.param(STEPS, "data_parallel", 1, marks=pytest.mark.slow),
        pytest.param(STEPS, "model_parallel", 2, marks=pytest.mark.slow),
    ],
)
def test_steps_are_compiled_with_static_shapes_and_without_python(
    steps, strategy, model_devices, tmp_path
):
    options = [f"--strategy={strategy}", f"--model_devices={model_devices}"]
    run_with_jax("tests.distribution.compiled_steps", tmp_path, *steps, *options)
    for step in steps:
        program = (tmp_path / f"{step}.txt").read_text()
        assert "ENTRY" in program
        shapes = re.findall(r"\b[a-z]+\d*\[([^\]]*)\]\{", program)
        assert shapes
        assert all(re.fullmatch(r"[\d,]*", shape) for shape in shapes)
        for outside in ("callback", "infeed", "outfeed", "host"):
            assert not re.search(rf"{outside}[\w.]*\(|target=\"[^\"]*{outside}", program), step
        is_divided = bool(re.search(r" all-(reduce|gather)", program))
        assert is_divided == (strategy != "none")
        if strategy == "model_parallel" and "ccp" in step:
            # No device ever sees all of the proxies.
            assert not re.search(rf"\[{2 * NUM_CLASSES},{EMBEDDING_SIZE}\]", program), step
            assert re.search(rf"\[{NUM_CLASSES},{EMBEDDING_SIZE}\]", program), step
