"""Sums along the rows of large matrices, and functions that use them.

On CPUs XLA stores the terms of a sum before it adds them up. Adding slices of the rows first
reduces that to an eighth, in the same pass; only the order of the additions, and so the rounding,
differs.
"""

import functools

from keras import ops

_SLICES = 8


def reduce_rows(terms, combine, reduce):
    """Reduces along the second axis.

    Args:
        terms: `(n, r)`, r known.
        combine: Function that combines two tensors, such as `keras.ops.minimum`.
        reduce: The same along an axis, such as `keras.ops.min`.

    Returns:
        `(n, 1)`.
    """
    size, rest = divmod(terms.shape[1], _SLICES)
    if size == 0:
        return reduce(terms, axis=1, keepdims=True)
    slices = [terms[:, place * size : (place + 1) * size] for place in range(_SLICES)]
    reduced = reduce(functools.reduce(combine, slices), axis=1, keepdims=True)
    if rest:
        reduced = combine(reduced, reduce(terms[:, -rest:], axis=1, keepdims=True))
    return reduced


def sum_rows(terms):
    """Sums along the second axis, `(n, r)` to `(n, 1)`."""
    return reduce_rows(terms, ops.add, ops.sum)


@ops.custom_gradient
def normalize_rows(vectors):
    """`ccp_dml.layers.lipschitz_normalize` of vectors `(r, d)`, at least float32."""
    squared_norms = sum_rows(ops.square(vectors))
    scales = ops.rsqrt(ops.maximum(squared_norms, 1.0))
    normalized = vectors * scales

    def gradient(upstream):
        radial = ops.where(squared_norms > 1.0, sum_rows(upstream * normalized), 0.0)
        return (upstream - radial * normalized) * scales

    return normalized, gradient
