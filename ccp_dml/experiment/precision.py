"""Precision of the computations of networks."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def precision_scope(policy: str) -> Iterator[None]:
    """A context that sets the dtype policy of new layers and restores the previous one.

    Keras has one policy for new layers in the whole process. Each layer keeps its own: a layer
    created inside this context uses the policy wherever it is called.

    Args:
        policy: Name of a `keras.DTypePolicy`, such as `"float32"`, or `"mixed_bfloat16"` for
            computations in bfloat16 with weights in float32.

    Example:

    >>> with precision_scope("mixed_bfloat16"):
    ...     layer = keras.layers.Dense(3)
    >>> layer.compute_dtype, layer.variable_dtype, keras.layers.Dense(3).compute_dtype
    ('bfloat16', 'float32', 'float32')
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
