"""Distances between two sets of vectors, with finite gradients everywhere."""

import keras
import numpy as np
from keras import ops


def as_float(vectors):
    """Converts to a tensor of at least float32: distances in half precision lose small margins."""
    vectors = ops.convert_to_tensor(vectors)
    dtype = keras.backend.standardize_dtype(vectors.dtype)
    return ops.cast(vectors, keras.backend.result_type(dtype, "float32"))


def squared_distances(vectors, references):
    """Squared Euclidean distances, by one matrix product.

    The expansion `‖a‖² + ‖b‖² − 2aᵀb` rounds in proportion to the norms, so both sets are first
    shifted to the references' mean, and what is left below the rounding error is taken as zero:
    equal vectors are at distance exactly 0.

    Args:
        vectors: `(..., n, d)`, float32 or float64.
        references: `(..., r, d)`, of the same dtype.

    Returns:
        `(..., n, r)`; where it is 0, so is its gradient.
    """
    center = ops.stop_gradient(ops.mean(references, axis=-2, keepdims=True))
    vectors, references = vectors - center, references - center
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True) + ops.swapaxes(
        ops.sum(ops.square(references), axis=-1, keepdims=True), -1, -2
    )
    squared = squares - 2.0 * ops.matmul(vectors, ops.swapaxes(references, -1, -2))
    dtype = keras.backend.standardize_dtype(squared.dtype)
    rounding = 16.0 * float(np.finfo(dtype).eps)
    return ops.where(squared > rounding * squares, squared, ops.zeros_like(squared))


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
