"""Batches and gradients across the replicas of a `tf.distribute` strategy.

A replica's share of a batch is not a batch: pairs across replicas count, so embeddings and labels
are gathered before the loss.
"""

import tensorflow as tf


def num_replicas() -> int:
    """Number of replicas that run the present code in sync; 1 outside of a replica context."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def gather(rows):
    """Concatenates the replicas' rows, in the replicas' order, on every replica.

    Gradients flow back to the rows of all replicas.

    Args:
        rows: This replica's rows `(n, ...)`; n may differ between replicas.

    Returns:
        The rows of all replicas `(N, ...)`; `rows` itself outside of a replica context.
    """
    if num_replicas() == 1:
        return rows
    # Rows are scattered into zeros and added up: `all_gather` fails for multi-worker CPU
    # strategies.
    context = tf.distribute.get_replica_context()
    replica = context.replica_id_in_sync_group
    size = tf.shape(rows)[0]
    sizes = _sum(tf.one_hot(replica, num_replicas(), on_value=size, dtype=tf.int32))
    before = tf.reduce_sum(sizes[:replica])
    after = tf.reduce_sum(sizes) - before - size
    padding = tf.concat([[[before, after]], tf.zeros((rows.shape.rank - 1, 2), tf.int32)], axis=0)
    return tf.ensure_shape(_sum(tf.pad(rows, padding)), [None, *rows.shape[1:]])


def sum_over_replicas(tensors):
    """Sums tensors over the replicas; returns them as they are outside of a replica context."""
    return tensors if num_replicas() == 1 else _sum(tensors)


def _sum(tensors):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)
