"""What Keras does not offer for all of its backends: the same functions for TensorFlow and JAX.

What runs inside of a training step beside `keras.ops` is here, so that losses, layers and models do
not ask which backend they run on. It is the one that was chosen before Keras was imported.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from ccp_dml.backend.tensorflow import (
        bits_of,
        compute_with_gradients,
        fuse_if_any_large,
        fuse_if_large,
        half_square,
        has_fast_float64,
        integers,
        known_value,
        normal,
        read_rows,
        require,
        uniform,
        write_rows,
    )
elif keras.backend.backend() == "jax":
    from ccp_dml.backend.jax import (
        bits_of,
        compute_with_gradients,
        fuse_if_any_large,
        fuse_if_large,
        half_square,
        has_fast_float64,
        integers,
        known_value,
        normal,
        read_rows,
        require,
        uniform,
        write_rows,
    )
else:
    raise ImportError(
        "ccp_dml runs on Keras's backends tensorflow and jax: set the environment variable "
        f"KERAS_BACKEND to one of them before keras is imported; it is {keras.backend.backend()}"
    )

__all__ = [
    "bits_of",
    "compute_with_gradients",
    "fuse_if_any_large",
    "fuse_if_large",
    "half_square",
    "has_fast_float64",
    "integers",
    "known_value",
    "normal",
    "read_rows",
    "require",
    "uniform",
    "write_rows",
]
