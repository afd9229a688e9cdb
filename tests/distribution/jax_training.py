"""The trainings of `training.py` with JAX, under one strategy after the other.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 XLA_FLAGS=--xla_force_host_platform_device_count=8 \
    python -m tests.distribution.jax_training FOLDER --cases ccp --strategies none model_parallel:2
"""

import argparse
import pathlib

import jax
import numpy as np

from ccp_dml import distribution
from tests.distribution.training import train_cases


def ask_processes():
    """What the processes of JAX say of themselves, as arrays by name."""
    own = np.zeros((2, 2))
    own[jax.process_index()] = [np.nan, -1 / 3]
    return {
        "num_workers": np.asarray(distribution.num_workers()),
        "num_devices": np.asarray(jax.device_count()),
        "sum": distribution.sum_over_workers(own),
        # The only thing in which they differ.
        "is_chief": np.asarray(distribution.is_chief()),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--strategies", nargs="+")
    arguments = parser.parse_args()
    for name in arguments.strategies:
        kind, _, model_devices = name.partition(":")
        strategy = distribution.strategy(kind, int(model_devices or 1))
        # Devices divide a batch of 40, 40 proxies, and 120 rows of memory.
        results = train_cases(
            arguments.cases, strategy.scope, samples_per_class=8, proxies_per_class=8
        )
        np.savez(arguments.folder / f"{name}.npz", **results, **ask_processes())
    distribution.wait_for_all()


if __name__ == "__main__":
    main()
