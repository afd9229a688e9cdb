"""Operations on tensors and variables that `keras.ops` does not have."""

from contextlib import AbstractContextManager

import keras
import numpy as np
import tensorflow as tf


def read_rows(variable: keras.Variable | tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Reads only some rows of a variable: reading a variable written in place copies it.

    Args:
        variable: `(N, ...)`; within an optimizer the copy that a replica has.
        rows: int32 `(n,)`.

    Returns:
        `(n, ...)`.
    """
    return tf.gather(_tensor_of(variable), rows)


def write_rows(variable: keras.Variable | tf.Variable, rows: tf.Tensor, values: tf.Tensor):
    """Replaces some rows of a variable in place; an assignment would copy all of them.

    Args:
        variable: `(N, ...)`; within an optimizer the copy that a replica has.
        rows: int32 `(n,)`, all different.
        values: `(n, ...)`, of the variable's dtype.
    """
    _tensor_of(variable).scatter_update(tf.IndexedSlices(values, rows))


def _tensor_of(variable):
    return variable.value if isinstance(variable, keras.Variable) else variable


def require(condition: tf.Tensor, message: str) -> AbstractContextManager:
    """Checks a condition within a step.

    Args:
        condition: A boolean scalar.
        message: The condition, in words.

    Returns:
        A context whose operations wait for the check. If it fails, the step ends in an
        `InvalidArgumentError` with the message. XLA drops such checks.
    """
    return tf.control_dependencies([tf.debugging.Assert(condition, [message])])


def known_value(tensor: tf.Tensor) -> np.ndarray | None:
    """Returns the value of a tensor; `None` if it is not known before the step."""
    return tf.get_static_value(tensor)


def has_fast_float64() -> bool:
    """Returns whether float64 products take at most twice the time of float32: on CPUs."""
    return not any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def half_squared_norm(tensor: tf.Tensor) -> tf.Tensor:
    """Computes `½ ‖x‖²` of a tensor, a scalar."""
    # A single operation: TensorFlow's graph optimiser would merge several with those that computed
    # the tensor, and round the resulting gradients differently.
    return tf.nn.l2_loss(tensor)
