"""Training on several devices: the same functions for TensorFlow and JAX."""

import keras

if keras.backend.backend() == "jax":
    from ccp_dml.distribution.jax import *  # noqa: F403
    from ccp_dml.distribution.jax import __all__ as _backend_names
else:
    from ccp_dml.distribution.tensorflow import *  # noqa: F403
    from ccp_dml.distribution.tensorflow import __all__ as _backend_names

from ccp_dml.distribution.messages import broadcast_from_chief

__all__ = [*_backend_names, "broadcast_from_chief"]  # pyright: ignore[reportUnsupportedDunderAll]
