"""Ranks with gradients, for losses that approximate a metric of retrieval."""

from keras import ops


def compute_soft_ranks(similarities, weights, temperature):
    """Returns ranks, one plus the number of larger similarities, with a sigmoid for the step.

    The rank of i is `1 + Σ_{j≠i} wⱼ·σ((Sⱼ − Sᵢ)/τ)`.

    Args:
        similarities: S `(n, r)`.
        weights: How often each counts, for several lists at once `(n, r, lists)`: 0 for those that
            are not in the list, and 1 for those whose rank is wanted.
        temperature: τ.

    Returns:
        `(n, r, lists)`, valid where the weight is 1. It takes O(n·r²) memory.
    """
    differences = similarities[:, None, :] - similarities[:, :, None]
    # The sum includes i itself, with σ(0) = 1/2.
    return 0.5 + ops.matmul(ops.sigmoid(differences / temperature), weights)
