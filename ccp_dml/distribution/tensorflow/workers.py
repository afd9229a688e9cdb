"""Coordination of the processes of a multi-worker strategy: who writes, and when all are done.

With a single process, these functions are trivial and cost nothing.
"""

import numpy as np
import tensorflow as tf


def num_workers(strategy: tf.distribute.Strategy | None = None) -> int:
    """Returns the number of processes that train together.

    Args:
        strategy: Defaults to `None`: the one in whose scope this is called.
    """
    current = strategy or tf.distribute.get_strategy()
    if not isinstance(current, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return current.num_replicas_in_sync // len(current.extended.worker_devices)


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Returns whether this process is the one that writes files and prints.

    Args:
        strategy: Defaults to `None`: the one in whose scope this is called.
    """
    current = strategy or tf.distribute.get_strategy()
    return bool(current.extended.should_checkpoint)


def sum_over_workers(
    array: np.ndarray, strategy: tf.distribute.Strategy | None = None
) -> np.ndarray:
    """Sums an array over the workers; all have to call this and get the same bits.

    To broadcast the array of one worker, let the others pass zeros; adding zeros changes no bit.

    Args:
        array: Numbers, of the same shape and dtype on every worker.
        strategy: Defaults to `None`: the one in whose scope this is called.

    Returns:
        The sum, of the same shape and dtype; `array` itself if there is only one worker.
    """
    current = strategy or tf.distribute.get_strategy()
    if num_workers(current) == 1:
        return array
    array = np.asarray(array)
    local_replicas = len(current.extended.worker_devices)

    def share(context):
        is_first = context.replica_id_in_sync_group % local_replicas == 0
        return tf.constant(array if is_first else np.zeros_like(array))

    shares = current.experimental_distribute_values_from_function(share)
    return current.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None).numpy()


def wait_for_all(strategy: tf.distribute.Strategy | None = None):
    """Returns when every worker has called it.

    A worker must not end, nor read what the chief writes, before the chief has written it.

    Args:
        strategy: Defaults to `None`: the one in whose scope this is called.
    """
    sum_over_workers(np.zeros((), "float32"), strategy)
