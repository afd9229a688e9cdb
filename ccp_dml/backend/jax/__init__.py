"""Functions of JAX that Keras does not offer."""

from ccp_dml.backend.jax.fusion import (
    compute_with_gradients,
    fuse_if_any_large,
    fuse_if_large,
)
from ccp_dml.backend.jax.random import bits_of, integers, normal, uniform
from ccp_dml.backend.jax.tensors import (
    half_squared_norm,
    has_fast_float64,
    known_value,
    read_rows,
    require,
    write_rows,
)

__all__ = [
    "bits_of",
    "compute_with_gradients",
    "fuse_if_any_large",
    "fuse_if_large",
    "half_squared_norm",
    "has_fast_float64",
    "integers",
    "known_value",
    "normal",
    "read_rows",
    "require",
    "uniform",
    "write_rows",
]
