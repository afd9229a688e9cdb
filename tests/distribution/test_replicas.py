"""Replicas and workers train as one device does, over several rounds."""

import functools

import numpy as np
import pytest
import scipy.stats

from tests.distribution.processes import run_module, run_workers
from tests.distribution.training import check_equal, train_cases, train_with_adam

SCRIPT = "tests.distribution.training"
ALL_PARTS = "ccp+xbm+dvml"


@functools.cache
def one_device(case):
    return train_cases([case])


def test_two_replicas_train_as_one_device(two_replicas):
    found, one = train_cases([ALL_PARTS], two_replicas.scope), one_device(ALL_PARTS)
    check_equal(found, one, ALL_PARTS)
    # If one device had computed everything, the results would be equal bit for bit.
    assert any((found[name] != one[name]).any() for name in one if "/weights/" in name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpus", "cases"),
    [
        (1, ["ccp", "ccp+xbm", ALL_PARTS]),
        (2, ["ccp", "ccp+hard"]),
        (3, ["ccp", ALL_PARTS]),
        (4, ["ccp", "ccp+xbm", ALL_PARTS]),
    ],
)
def test_replicas_train_as_one_device(cpus, cases, tmp_path):
    run_module(SCRIPT, tmp_path / "found.npz", *cases, f"--cpus={cpus}")
    for case in cases:
        check_equal(np.load(tmp_path / "found.npz"), one_device(case), case)


def test_workers_train_as_one_device_and_are_equal(tmp_path):
    paths = [tmp_path / f"{index}.npz" for index in range(2)]
    run_workers(SCRIPT, *([path, ALL_PARTS, "--strategy=multi_worker"] for path in paths))
    chief, other = map(np.load, paths)
    check_equal(chief, one_device(ALL_PARTS), ALL_PARTS)
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
    # Adam amplifies rounding as it does a perturbation of the initial weights of that size.
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
