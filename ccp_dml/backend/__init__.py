"""Functions that Keras lacks for some of its backends, written for TensorFlow and for JAX.

Everything in a training step besides `keras.ops` is here, so that losses, layers and models do not
depend on the backend, which was chosen before Keras was imported.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from ccp_dml.backend.tensorflow import *  # noqa: F403
    from ccp_dml.backend.tensorflow import __all__ as _backend_names
elif keras.backend.backend() == "jax":
    from ccp_dml.backend.jax import *  # noqa: F403
    from ccp_dml.backend.jax import __all__ as _backend_names
else:
    raise ImportError(
        "ccp_dml requires the Keras backend tensorflow or jax: set the environment variable "
        f"KERAS_BACKEND before keras is imported; got {keras.backend.backend()}"
    )

__all__ = list(_backend_names)  # pyright: ignore[reportUnsupportedDunderAll]
