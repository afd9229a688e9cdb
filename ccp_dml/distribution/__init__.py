"""Training on several devices: the same functions for TensorFlow and JAX."""

import keras

if keras.backend.backend() == "jax":
    from ccp_dml.distribution.jax import (
        STATIC_SHAPES,
        STRATEGIES,
        BatchMap,
        apply_to_share,
        count_gpus,
        count_replicas,
        count_shares,
        gather,
        is_chief,
        list_local_devices,
        name_of_worker,
        num_replicas,
        num_workers,
        strategy,
        strategy_of,
        sum_over_replicas,
        sum_over_workers,
        update_copies,
        wait_for_all,
    )
else:
    from ccp_dml.distribution.tensorflow import (
        STATIC_SHAPES,
        STRATEGIES,
        BatchMap,
        apply_to_share,
        count_gpus,
        count_replicas,
        count_shares,
        gather,
        is_chief,
        list_local_devices,
        name_of_worker,
        num_replicas,
        num_workers,
        strategy,
        strategy_of,
        sum_over_replicas,
        sum_over_workers,
        update_copies,
        wait_for_all,
    )

from ccp_dml.distribution.messages import from_chief

__all__ = [
    "STATIC_SHAPES",
    "STRATEGIES",
    "BatchMap",
    "apply_to_share",
    "count_gpus",
    "count_replicas",
    "count_shares",
    "from_chief",
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
