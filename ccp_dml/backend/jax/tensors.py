"""Arrays and variables, as `keras.ops` does not have them."""

import contextlib

import jax
import keras
import numpy as np


def read_rows(variable: keras.Variable, rows) -> jax.Array:
    """Reads some rows of a variable.

    Args:
        variable: `(N, ...)`.
        rows: int32 `(n,)`.

    Returns:
        `(n, ...)`.
    """
    return variable.value[rows]


def write_rows(variable: keras.Variable, rows, values):
    """Replaces some rows of a variable, which XLA does in place within a step.

    Args:
        variable: `(N, ...)`.
        rows: int32 `(n,)`, all different.
        values: `(n, ...)`, of the variable's dtype.
    """
    variable.assign(variable.value.at[rows].set(values, unique_indices=True))


def require(condition, message: str) -> contextlib.AbstractContextManager:
    """Checks that something is true, outside of what is compiled: within, nothing can be checked.

    Args:
        condition: A boolean scalar.
        message: What must be true.

    Returns:
        A context for what depends on it.

    Raises:
        ValueError: If it is known to be false.
    """
    known = known_value(condition)
    if known is not None and not known:
        raise ValueError(message)
    return contextlib.nullcontext()


def known_value(tensor) -> np.ndarray | None:
    """The value of an array, `None` if it is not known before the step."""
    return None if isinstance(tensor, jax.core.Tracer) else np.asarray(tensor)


def has_fast_float64() -> bool:
    """Whether products in float64 are possible and fast; JAX has them only where asked to."""
    return False


def half_square(tensor) -> jax.Array:
    """`½ ‖x‖²` of an array, a scalar."""
    return 0.5 * jax.numpy.sum(jax.numpy.square(tensor))
