"""Distances between two sets of vectors, with finite gradients everywhere."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ccp_dml.losses import distance_forms


def to_float(vectors):
    """Converts to a tensor of at least float32: distances in half precision lose small margins."""
    vectors = ops.convert_to_tensor(vectors)
    dtype = keras.backend.standardize_dtype(vectors.dtype)
    return ops.cast(vectors, keras.backend.result_type(dtype, "float32"))


def squared_distances(vectors, references):
    """Squared Euclidean distances.

    Equal vectors are at distance exactly 0, and rounding errors of other distances are relative to
    the vectors' differences, not to their lengths; `distance_forms` says how.

    Args:
        vectors: `(..., n, d)`, float32 or float64.
        references: `(..., r, d)`, of the same dtype.

    Returns:
        `(..., n, r)`, of that dtype; where it is 0, so is its gradient.
    """
    form = distance_forms.choose(vectors.dtype)

    @ops.custom_gradient
    def compute(vectors, references) -> Any:
        squared = form.squared(vectors, references)

        def gradient(upstream):
            weights = ops.where(squared > 0.0, 2.0 * upstream, 0.0)
            return form.weighted_offsets(weights, vectors, references)

        return squared, gradient

    return compute(vectors, references)


def euclidean_distances(vectors, references):
    """Euclidean distances; the gradient of a distance of 0 is 0 rather than infinite.

    Args:
        vectors: `(..., n, d)`, float32 or float64.
        references: `(..., r, d)`, of the same dtype.

    Returns:
        `(..., n, r)`, of that dtype.
    """
    form = distance_forms.choose(vectors.dtype)

    @ops.custom_gradient
    def compute(vectors, references) -> Any:
        distances = ops.sqrt(form.squared(vectors, references))

        def gradient(upstream):
            weights = upstream * ops.divide_no_nan(ops.ones_like(distances), distances)
            return form.weighted_offsets(weights, vectors, references)

        return distances, gradient

    return compute(vectors, references)


def inner_products(vectors, references):
    """Inner products `(n, r)` of `vectors` `(n, d)` and `references` `(r, d)`."""
    return ops.matmul(vectors, ops.transpose(references))


def lengths(vectors):
    """Euclidean lengths `(n, 1)` of `vectors` `(n, d)`, at least 1e-6, with finite gradients."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return ops.sqrt(ops.maximum(squares, 1e-12))


def cosine_distances(vectors, references):
    """Cosine distances `1 − cos`: half of the squared distances of vectors scaled to length 1.

    Computed in this way, equal vectors are at distance exactly 0. Vectors shorter than 1e-6 are
    divided by 1e-6, so that a zero vector is at distance 1/2 from every other vector except another
    zero vector.

    Args:
        vectors: `(n, d)`, float32 or float64.
        references: `(r, d)`, of the same dtype.

    Returns:
        `(n, r)`, of that dtype.
    """
    return 0.5 * squared_distances(vectors / lengths(vectors), references / lengths(references))


DISTANCES: dict[str, Callable] = {
    "euclidean": euclidean_distances,
    "squared_euclidean": squared_distances,
    "cosine": cosine_distances,
}
"""Distances by name: functions of vectors `(n, d)` and references `(r, d)` that return `(n, r)`."""
