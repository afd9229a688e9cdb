"""What networks compute in."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def precision_scope(policy: str) -> Iterator[None]:
    """Lets layers that are made inside of it have a dtype policy, and restores the one before.

    Keras keeps the policy of new layers for the whole process. A layer keeps its own: what was made
    inside computes as it did there, wherever it is called.

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
