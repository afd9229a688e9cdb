"""The trainings of `training.py` with JAX, which has to compute in float64.

KERAS_BACKEND=jax JAX_ENABLE_X64=1 XLA_FLAGS=--xla_force_host_platform_device_count=8 \
    python -m tests.distribution.jax_training OUTPUT ccp --strategy=data_parallel
"""

import argparse

import jax
import numpy as np

from ccp_dml import distribution
from tests.distribution.training import train_cases


def train(case, strategy):
    """The results of a case as arrays by name.

    Args:
        case: The case.
        strategy: The name of a strategy, optionally with a colon and the number of model devices.
    """
    name, _, model_devices = strategy.partition(":")
    # The devices can share batches of 40, 40 proxies and 120 rows of memory equally.
    return train_cases(
        [case],
        distribution.strategy(name, int(model_devices or 1)).scope,
        samples_per_class=8,
        proxies_per_class=8,
    )


def ask_processes():
    """What the JAX processes say about themselves, as arrays by name."""
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
    parser.add_argument("output")
    parser.add_argument("case")
    parser.add_argument("--strategy")
    arguments = parser.parse_args()
    results = train(arguments.case, arguments.strategy)
    np.savez(arguments.output, **results, **ask_processes())
    distribution.wait_for_all()


if __name__ == "__main__":
    main()
