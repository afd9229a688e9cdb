"""What the processes of a multi-worker strategy agree on: who writes, and when all are done.

In a process that is the only one, all of this is true of it alone and costs nothing.
"""

import numpy as np
import tensorflow as tf


def num_workers(strategy: tf.distribute.Strategy | None = None) -> int:
    """Number of processes that train together.

    Args:
        strategy: Defaults to `None`: that in whose scope this is called.
    """
    strategy = strategy or tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return strategy.num_replicas_in_sync // len(strategy.extended.worker_devices)


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether this process is the one that writes files and speaks to the user.

    Args:
        strategy: Defaults to `None`: that in whose scope this is called.
    """
    strategy = strategy or tf.distribute.get_strategy()
    return bool(strategy.extended.should_checkpoint)


def sum_over_workers(
    array: np.ndarray, strategy: tf.distribute.Strategy | None = None
) -> np.ndarray:
    """Sums an array over the workers, all of which have to call this and get the same bits.

    What one worker knows reaches all others if they have zeros in its place; adding zeros changes
    no bit.

    Args:
        array: Numbers, of the same shape and dtype on every worker.
        strategy: Defaults to `None`: that in whose scope this is called.

    Returns:
        The sum, of the same shape and dtype; `array` itself where there is one worker.
    """
    strategy = strategy or tf.distribute.get_strategy()
    if num_workers(strategy) == 1:
        return array
    array = np.asarray(array)
    local_replicas = len(strategy.extended.worker_devices)

    def share(context):
        is_first = context.replica_id_in_sync_group % local_replicas == 0
        return tf.constant(array if is_first else np.zeros_like(array))

    shares = strategy.experimental_distribute_values_from_function(share)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None).numpy()


def wait_for_all(strategy: tf.distribute.Strategy | None = None):
    """Returns when every worker has called it.

    A worker must not end, nor read what the chief writes, before the chief has written it.

    Args:
        strategy: Defaults to `None`: that in whose scope this is called.
    """
    sum_over_workers(np.zeros((), "float32"), strategy)
