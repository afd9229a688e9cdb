"""Operations on arrays and variables that `keras.ops` does not have."""

import contextlib

import jax
import keras
import numpy as np
from jax.core import Tracer


def read_rows(variable: keras.Variable, rows: jax.Array) -> jax.Array:
    """Reads some rows of a variable.

    Args:
        variable: `(N, ...)`.
        rows: int32 `(n,)`.

    Returns:
        `(n, ...)`.
    """
    return variable.value[rows]


def write_rows(variable: keras.Variable, rows: jax.Array, values: jax.Array):
    """Replaces some rows of a variable, which XLA does in place within a step.

    Args:
        variable: `(N, ...)`.
        rows: int32 `(n,)`, all different.
        values: `(n, ...)`, of the variable's dtype.
    """
    variable.assign(variable.value.at[rows].set(values, unique_indices=True))


def require(condition: jax.Array, message: str) -> contextlib.AbstractContextManager:
    """Checks a condition outside of compiled code; within, nothing can be checked.

    Args:
        condition: A boolean scalar.
        message: The condition, in words.

    Returns:
        A context for operations that depend on it.

    Raises:
        ValueError: If it is known to be false.
    """
    known = known_value(condition)
    if known is not None and not known:
        raise ValueError(message)
    return contextlib.nullcontext()


def known_value(tensor: jax.Array) -> np.ndarray | None:
    """Returns the value of an array; `None` if it is not known before the step."""
    return None if isinstance(tensor, Tracer) else np.asarray(tensor)


def has_fast_float64() -> bool:
    """Returns whether products in float64 are possible and fast; JAX enables them on request."""
    return False


def half_squared_norm(tensor: jax.Array) -> jax.Array:
    """Computes `½ ‖x‖²` of an array, a scalar."""
    return 0.5 * jax.numpy.sum(jax.numpy.square(tensor))
