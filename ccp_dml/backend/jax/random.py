"""Stateless random numbers from two seeds."""

from collections.abc import Sequence
from typing import Any

import jax
import keras
from jax import numpy as jnp


def uniform(shape: Sequence[Any], seeds: Sequence[Any]) -> jax.Array:
    """Uniform random numbers in [0, 1).

    Args:
        shape: Their shape.
        seeds: Two integer scalars.

    Returns:
        A float32 array.
    """
    return keras.random.uniform(shape, dtype="float32", seed=_stack(seeds))


def integers(shape: Sequence[Any], seeds: Sequence[Any]) -> jax.Array:
    """Random int32 of at least 0; see `uniform`."""
    return keras.random.randint(shape, 0, 2**31 - 1, dtype="int32", seed=_stack(seeds))


def normal(shape: Sequence[Any], seeds: Sequence[Any]) -> jax.Array:
    """Random numbers of the normal distribution N(0, 1); see `uniform`."""
    return keras.random.normal(shape, dtype="float32", seed=_stack(seeds))


def bits_of(vectors: jax.Array) -> jax.Array:
    """Returns the bits of a float array in float32, as int32."""
    return jax.lax.bitcast_convert_type(jnp.asarray(vectors, "float32"), jnp.int32)


def _stack(seeds):
    # With JAX, Keras takes this for the state of the generator.
    return jnp.stack([jnp.asarray(seed).astype("uint32") for seed in seeds])
