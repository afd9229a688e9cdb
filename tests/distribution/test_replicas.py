"""Replicas and workers train as one device does, over rounds that change."""

import functools

import numpy as np
import pytest
import scipy.stats

from tests.distribution.processes import run_module, run_workers
from tests.distribution.training import train_cases, train_with_adam

SCRIPT = "tests.distribution.training"
ALL_PARTS = "ccp+xbm+dvml"


@functools.cache
def one_device(*cases):
    return train_cases(cases)


def check_equal(found, *cases):
    expected = one_device(*cases)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)
    for case in cases:
        # Two rounds ended, the rate was lowered, and there was something to learn.
        assert found[f"{case}/history/round"][-1] == 2
        assert found[f"{case}/history/learning_rate"][-1] < 0.02
        assert np.ptp(found[f"{case}/history/val_map_at_r"]) > 0.005


@pytest.mark.parametrize(
    ("cpus", "cases"),
    [
        (2, ["ccp", ALL_PARTS]),
        pytest.param(3, ["ccp", ALL_PARTS], marks=pytest.mark.slow),
        pytest.param(2, ["ccp+hard"], marks=pytest.mark.slow),
        pytest.param(1, ["ccp", "ccp+xbm", ALL_PARTS], marks=pytest.mark.slow),
        pytest.param(4, ["ccp", "ccp+xbm", ALL_PARTS], marks=pytest.mark.slow),
    ],
)
def test_replicas_train_as_one_device(cpus, cases, tmp_path):
    run_module(SCRIPT, tmp_path / "found.npz", *cases, f"--cpus={cpus}")
    check_equal(np.load(tmp_path / "found.npz"), *cases)


def test_workers_train_as_one_device_and_are_equal(tmp_path):
    paths = [tmp_path / f"{index}.npz" for index in range(2)]
    run_workers(SCRIPT, *([path, ALL_PARTS, "--strategy=multi_worker"] for path in paths))
    chief, other = map(np.load, paths)
    check_equal(chief, ALL_PARTS)
    different = [name for name in chief if chief[name].tobytes() != other[name].tobytes()]
    assert different == ["is_chief"]
    assert chief["is_chief"]
    assert chief["num_workers"] == 2
    np.testing.assert_array_equal(chief["sum"], [[np.nan, 0], [np.nan, -1]])
    assert not chief["keras_can_reduce"], (
        "Keras averages the logs of several workers again: keep_logs_of_first_replica in "
        "ccp_dml/models/keras_internals.py can go"
    )


@pytest.mark.slow
def test_adam_differs_as_after_a_perturbation(tmp_path):
    # Adam amplifies rounding; so it does a perturbation of the initial weights of its size.
    seeds = 5
    run_module(SCRIPT, tmp_path / "found.npz", "--cpus=2", f"--adam_seeds={seeds}")
    unperturbed = train_with_adam(range(seeds))
    perturbed = train_with_adam(range(seeds), perturbation=1e-7)

    def distances(weights):
        pairs = zip(weights, unperturbed, strict=True)
        return [np.abs(each - other).max() for each, other in pairs]

    by_replicas = distances(np.load(tmp_path / "found.npz")["adam"])
    by_perturbation = distances(perturbed)
    assert max(by_perturbation) > 0
    test = scipy.stats.mannwhitneyu(by_replicas, by_perturbation, alternative="greater")
    assert test.pvalue > 0.01, (by_replicas, by_perturbation)
