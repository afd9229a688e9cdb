"""Random numbers without state: equal seeds give equal numbers, on every replica and under XLA."""

import tensorflow as tf
from keras import ops


def uniform(shape, seed, stream: int):
    """Uniform random numbers in [0, 1).

    Args:
        shape: Their shape.
        seed: An integer scalar.
        stream: A constant; different ones give independent numbers from the same seed.

    Returns:
        A float32 tensor.

    Example:

    >>> bool((uniform((3,), 1, stream=0) == uniform((3,), 1, stream=0)).numpy().all())
    True
    """
    seeds = tf.stack([ops.cast(seed, "int32"), tf.constant(stream, "int32")])
    # Left to itself, TensorFlow takes another algorithm under XLA.
    return tf.random.stateless_uniform(shape, seeds, alg="philox")


def seed_of(vectors):
    """A seed computed from the bits of vectors, different as soon as one of them is.

    Args:
        vectors: A float tensor.

    Returns:
        An int32 scalar: equal for equal vectors in any order.
    """
    # Integers overflow the same way in any order, which floats added up do not.
    return tf.reduce_sum(tf.bitcast(tf.cast(vectors, tf.float32), tf.int32))
