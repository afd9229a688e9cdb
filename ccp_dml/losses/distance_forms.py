"""Ways to compute distances; which one is best depends on the hardware."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from ccp_dml import backend
from ccp_dml.backend import fuse_if_large
from ccp_dml.backend.size import is_large
from ccp_dml.losses.row_sums import sum_rows


class DistanceForm(NamedTuple):
    """A way to compute distances and their gradients.

    Attributes:
        squared: Function of vectors `(..., n, d)` and references `(..., r, d)`: their squared
            distances `(..., n, r)`, exactly 0 where vectors are equal.
        weighted_offsets: Function of weights wᵢᵣ `(..., n, r)`, vectors aᵢ and references bᵣ:
            `Σᵣ wᵢᵣ(aᵢ − bᵣ)` and `Σᵢ wᵢᵣ(bᵣ − aᵢ)`, from which gradients of distances are computed.
    """

    squared: Callable
    weighted_offsets: Callable


def squared_distances_by_expansion(vectors, references):
    """`‖a‖² + ‖b‖² − 2aᵀb` in float64.

    In float32 it would hide distances below a few thousandths of the vectors' lengths. Values
    within its rounding error are set to zero, so that equal vectors are at distance exactly 0.
    """
    dtype = vectors.dtype
    vectors, references = ops.cast(vectors, "float64"), ops.cast(references, "float64")
    if len(references.shape) == 2 and is_large(references.shape):
        reference_squares = ops.transpose(sum_rows(ops.square(references)))
    else:
        reference_squares = ops.sum(ops.square(references), axis=-1)[..., None, :]
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True) + reference_squares
    squared = squares + ops.matmul(-2.0 * vectors, ops.swapaxes(references, -1, -2))
    rounding = 16.0 * float(np.finfo("float64").eps)
    squared = ops.where(squared <= rounding * squares, ops.zeros_like(squared), squared)
    return ops.cast(squared, dtype)


def weighted_offsets_by_products(weights, vectors, references):
    """Two matrix products, in float64, or in the dtype of the vectors where these are many.

    In float32 the direction from a vector to one 1e-3 away is off by 5e-5, which is also the effect
    of rounding the vectors themselves.
    """
    dtype = vectors.dtype
    if not is_large(references.shape):
        weights, vectors, references = (
            ops.cast(each, "float64") for each in (weights, vectors, references)
        )
    to_references = ops.matmul(weights, references)
    to_vectors = ops.matmul(ops.swapaxes(weights, -1, -2), vectors)
    return (
        ops.cast(ops.sum(weights, axis=-1)[..., None] * vectors - to_references, dtype),
        ops.cast(ops.sum(weights, axis=-2)[..., None] * references - to_vectors, dtype),
    )


def _size_of_differences(vectors, references):
    return *vectors.shape[:-1], *references.shape[-2:]


@fuse_if_large(_size_of_differences)
def squared_distances_by_differences(vectors, references):
    """`Σ (a − b)²`, in the dtype of the vectors: without matrix products, and exact to rounding."""
    return ops.sum(ops.square(_differences(vectors, references)), axis=-1)


@fuse_if_large(lambda weights, *sets: _size_of_differences(*sets))
def weighted_offsets_by_differences(weights, vectors, references):
    """Weighted sums of the differences."""
    offsets = weights[..., None] * _differences(vectors, references)
    return ops.sum(offsets, axis=-2), -ops.sum(offsets, axis=-3)


def _differences(vectors, references):
    return vectors[..., :, None, :] - references[..., None, :, :]


EXPANSION = DistanceForm(squared_distances_by_expansion, weighted_offsets_by_products)
DIFFERENCES = DistanceForm(squared_distances_by_differences, weighted_offsets_by_differences)


def choose(dtype) -> DistanceForm:
    """Returns the form for vectors of a dtype on the present hardware.

    On CPUs a float64 product takes as long as two in float32, and less than any form that makes do
    with float32. GPUs run it at 1/2 to 1/64 of their speed, TPUs emulate it, and JAX has it only
    where it is switched on; they also round the factors of float32 products to 10 or 7 bits. There,
    float32 vectors are compared by their differences, which need no products and which XLA computes
    without storing them.

    Args:
        dtype: float32 or float64.
    """
    if keras.backend.standardize_dtype(dtype) == "float64" or backend.has_fast_float64():
        return EXPANSION
    return DIFFERENCES
