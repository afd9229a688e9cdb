"""Distances between two sets of vectors, with finite gradients everywhere."""

import keras
import numpy as np
from keras import ops


def to_float(vectors):
    """Converts to a tensor of at least float32: distances in half precision lose small margins."""
    vectors = ops.convert_to_tensor(vectors)
    dtype = keras.backend.standardize_dtype(vectors.dtype)
    return ops.cast(vectors, keras.backend.result_type(dtype, "float32"))


def squared_distances(vectors, references):
    """Squared Euclidean distances, by one matrix product.

    The expansion `‖a‖² + ‖b‖² − 2aᵀb` rounds in proportion to the norms, which in float32 hides
    distances below a few thousandths of them. It is therefore computed in float64, and what its
    rounding leaves is taken as zero: equal vectors are at distance exactly 0.

    Args:
        vectors: `(..., n, d)`, float32 or float64.
        references: `(..., r, d)`, of the same dtype.

    Returns:
        `(..., n, r)`, of that dtype; where it is 0, so is its gradient.
    """
    dtype = vectors.dtype
    vectors, references = ops.cast(vectors, "float64"), ops.cast(references, "float64")
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True) + ops.swapaxes(
        ops.sum(ops.square(references), axis=-1, keepdims=True), -1, -2
    )
    squared = squares - 2.0 * ops.matmul(vectors, ops.swapaxes(references, -1, -2))
    rounding = 16.0 * float(np.finfo("float64").eps)
    squared = ops.where(squared > rounding * squares, squared, ops.zeros_like(squared))
    return ops.cast(squared, dtype)


def euclidean_distances(vectors, references):
    """Euclidean distances; the gradient of a distance of 0 is 0 rather than infinite.

    Args:
        vectors: `(n, d)`, float32 or float64.
        references: `(r, d)`, of the same dtype.

    Returns:
        `(n, r)`.
    """
    squared = squared_distances(vectors, references)
    is_zero = squared == 0.0
    # The inner `where` keeps sqrt away from 0, whose infinite derivative the outer one would turn
    # into 0 · ∞.
    return ops.where(is_zero, 0.0, ops.sqrt(ops.where(is_zero, 1.0, squared)))


def inner_products(vectors, references):
    """Inner products `(n, r)` of `vectors` `(n, d)` and `references` `(r, d)`."""
    return ops.matmul(vectors, ops.transpose(references))


def lengths(vectors):
    """Euclidean lengths `(n, 1)` of `vectors` `(n, d)`, at least 1e-6, with finite gradients."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return ops.sqrt(ops.maximum(squares, 1e-12))
