"""Devices and processes of JAX, under a `keras.distribution`."""

from ccp_dml.distribution.jax.batch_map import BatchMap
from ccp_dml.distribution.jax.collectives import (
    apply_to_share,
    gather,
    num_replicas,
    sum_over_replicas,
)
from ccp_dml.distribution.jax.copies import update_copies
from ccp_dml.distribution.jax.devices import (
    count_gpus,
    count_replicas,
    list_local_devices,
    name_of_worker,
)
from ccp_dml.distribution.jax.strategies import (
    STATIC_SHAPES,
    STRATEGIES,
    count_shares,
    strategy,
    strategy_of,
)
from ccp_dml.distribution.jax.workers import (
    is_chief,
    num_workers,
    sum_over_workers,
    wait_for_all,
)

__all__ = [
    "STATIC_SHAPES",
    "STRATEGIES",
    "BatchMap",
    "apply_to_share",
    "count_gpus",
    "count_replicas",
    "count_shares",
    "gather",
    "is_chief",
    "list_local_devices",
    "name_of_worker",
    "num_replicas",
    "num_workers",
    "strategy",
    "strategy_of",
    "sum_over_replicas",
    "sum_over_workers",
    "update_copies",
    "wait_for_all",
]
