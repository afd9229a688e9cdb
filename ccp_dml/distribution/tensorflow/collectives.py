"""Batches and gradients across the replicas of a `tf.distribute` strategy.

A replica's share of a batch is not a batch of its own: pairs across replicas count, so embeddings
and labels are gathered before the loss.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def num_replicas() -> int:
    """Returns the number of replicas running the current code; 1 outside a replica context."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def gather(rows: Any) -> Any:
    """Concatenates the replicas' rows, in the replicas' order, on every replica.

    Gradients flow back to the rows of all replicas.

    Args:
        rows: This replica's rows `(n, ...)`. In a graph that knows n, it is that of every replica,
            and the result has a static shape; otherwise n may differ between replicas.

    Returns:
        The rows of all replicas `(N, ...)`; `rows` itself outside of a replica context.
    """
    if num_replicas() == 1:
        return rows
    # Rows are padded with zeros and summed: `all_gather` fails for multi-worker CPU strategies.
    if not (rows.dtype.is_floating or rows.dtype in (tf.int32, tf.int64)):
        # Labels may be booleans or small integers, which cannot be summed over replicas.
        return tf.cast(gather(tf.cast(rows, tf.int64)), rows.dtype)
    if rows.shape.is_fully_defined() and not tf.executing_eagerly():
        return _gather_equal_shares(rows)
    return _gather_unequal_shares(rows)


def _gather_equal_shares(rows):
    is_own = tf.one_hot(_replica_id(), num_replicas(), on_value=True, off_value=False)
    is_own = tf.reshape(is_own, [-1] + [1] * rows.shape.rank)
    # A product with ones and zeros would turn one replica's infinity into NaN on all others.
    shares = _sum(tf.where(is_own, rows[None], tf.zeros_like(rows)[None]))
    return tf.reshape(shares, [num_replicas() * rows.shape[0], *rows.shape[1:]])


def _gather_unequal_shares(rows):
    replica, size = _replica_id(), tf.shape(rows)[0]
    sizes = _sum(tf.one_hot(replica, num_replicas(), on_value=size, dtype=tf.int32))
    before = tf.reduce_sum(sizes[:replica])
    after = tf.reduce_sum(sizes) - before - size
    padding = tf.concat([[[before, after]], tf.zeros((rows.shape.rank - 1, 2), tf.int32)], axis=0)
    return tf.ensure_shape(_sum(tf.pad(rows, padding)), [None, *rows.shape[1:]])


def _replica_id():
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def apply_to_share(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Applies a function to this replica's share of a batch, even if the share is empty.

    The last batch of an evaluation may be smaller than the number of replicas, and convolutions
    fail on a share without rows: it gets a row of zeros, whose result is dropped.

    Args:
        function: From inputs to a tensor with one row per sample.
        inputs: A tensor, or a nest of tensors, with one row per sample.

    Returns:
        The rows that the function returned.
    """
    first = tf.nest.flatten(inputs)[0]
    if num_replicas() == 1 or first.shape[0] is not None:
        return function(inputs)
    size = tf.shape(first)[0]
    missing = tf.cast(size == 0, size.dtype)

    def pad(rows):
        zeros = tf.zeros(tf.concat([[missing], tf.shape(rows)[1:]], axis=0), rows.dtype)
        return tf.ensure_shape(tf.concat([rows, zeros], axis=0), rows.shape)

    return function(tf.nest.map_structure(pad, inputs))[:size]


def sum_over_replicas(tensors: Any) -> Any:
    """Sums tensors over the replicas; returns them as they are outside of a replica context."""
    return tensors if num_replicas() == 1 else _sum(tensors)


def _sum(tensors):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)
