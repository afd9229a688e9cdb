"""Random numbers that depend only on the seed, a purpose and a step."""

import zlib

import numpy as np
import tensorflow as tf


def stateless_seed(seed: int, purpose: str, *steps: tf.Tensor | int) -> tf.Tensor:
    """Returns a seed for stateless random numbers that no other purpose or step shares.

    Args:
        seed: The seed of the experiment.
        purpose: What the numbers are for.
        *steps: Integer scalars.

    Returns:
        int64 `(2,)`.
    """
    folded = tf.constant([seed, zlib.crc32(purpose.encode())], tf.int64)
    for step in steps:
        folded = tf.random.experimental.stateless_fold_in(folded, step)
    return folded


def make_generator(seed: int, purpose: str, *steps: int) -> np.random.Generator:
    """Returns a random number generator that no other purpose or step shares.

    Args:
        seed: The seed of the experiment.
        purpose: What the numbers are for.
        *steps: Integers that are not negative.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *steps])
