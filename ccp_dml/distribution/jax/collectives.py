"""Batches and gradients on several devices of JAX.

Within a step an array belongs to all devices, wherever its parts are, and XLA moves data as needed:
there is nothing to gather and nothing to sum.
"""

from collections.abc import Callable
from typing import Any


def num_replicas() -> int:
    """Returns the number of programs that run the current code in sync: one."""
    return 1


def gather(rows: Any) -> Any:
    """Returns the rows, which are already those of all devices."""
    return rows


def apply_to_share(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Applies a function to inputs."""
    return function(inputs)


def sum_over_replicas(tensors: Any) -> Any:
    """Returns the tensors, which are already sums over all devices."""
    return tensors
