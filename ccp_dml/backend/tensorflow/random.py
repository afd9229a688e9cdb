"""Stateless random numbers from two seeds."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def uniform(shape: Sequence[Any], seeds: Sequence[Any]) -> tf.Tensor:
    """Uniform random numbers in [0, 1).

    Args:
        shape: Their shape.
        seeds: Two integer scalars.

    Returns:
        A float32 tensor.
    """
    # By default, TensorFlow uses another algorithm under XLA.
    return tf.random.stateless_uniform(shape, _stack(seeds), alg="philox")


def integers(shape: Sequence[Any], seeds: Sequence[Any]) -> tf.Tensor:
    """Random int32, of any size and sign; see `uniform`."""
    return tf.random.stateless_uniform(
        shape, _stack(seeds), alg="philox", minval=None, maxval=None, dtype=tf.int32
    )


def normal(shape: Sequence[Any], seeds: Sequence[Any]) -> tf.Tensor:
    """Random numbers of the normal distribution N(0, 1); see `uniform`. XLA gives other ones."""
    return tf.random.stateless_normal(shape, _stack(seeds))


def bits_of(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the bits of a float tensor in float32, as int32."""
    return tf.bitcast(tf.cast(vectors, tf.float32), tf.int32)


def _stack(seeds):
    return tf.stack([tf.cast(seed, tf.int32) for seed in seeds])
