"""Stateless random numbers from two seeds."""

import tensorflow as tf


def uniform(shape, seeds):
    """Uniform random numbers in [0, 1).

    Args:
        shape: Their shape.
        seeds: Two integer scalars.

    Returns:
        A float32 tensor.
    """
    # By default, TensorFlow uses another algorithm under XLA.
    return tf.random.stateless_uniform(shape, _stack(seeds), alg="philox")


def integers(shape, seeds):
    """Random int32, of any size and sign; see `uniform`."""
    return tf.random.stateless_uniform(
        shape, _stack(seeds), alg="philox", minval=None, maxval=None, dtype=tf.int32
    )


def normal(shape, seeds):
    """Random numbers of the normal distribution N(0, 1), others under XLA; see `uniform`."""
    return tf.random.stateless_normal(shape, _stack(seeds))


def bits_of(vectors):
    """Returns the bits of a float tensor in float32, as int32."""
    return tf.bitcast(tf.cast(vectors, tf.float32), tf.int32)


def _stack(seeds):
    return tf.stack([tf.cast(seed, tf.int32) for seed in seeds])
