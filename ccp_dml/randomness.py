"""Stateless random numbers: equal seeds give equal numbers, on every replica and under XLA."""

import math
import zlib

from keras import ops

from ccp_dml import backend

_ROUNDS = 4


def uniform(shape, seed, stream: int):
    """Draws uniform random numbers in [0, 1).

    Args:
        shape: Their shape.
        seed: An integer scalar.
        stream: A constant; different constants give independent numbers from the same seed.

    Returns:
        A float32 tensor.

    Example:

    >>> bool(ops.all(uniform((3,), 1, stream=0) == uniform((3,), 1, stream=0)))
    True
    """
    return backend.uniform(shape, (seed, stream))


def permute(points, size: int, seed, stream: int):
    """Evaluates a random permutation of 0…size − 1 at some points, without computing all of it.

    It is a Feistel network: a number is a cell of a grid that is about as wide as it is high. In
    turn, its column is shifted by a random amount that depends on the row, and its row by one that
    depends on the column. Each shift is invertible, so that different numbers stay different.
    Numbers that end in the unused corner of the grid are shifted again until they leave it.

    Args:
        points: int32 `(n,)`, from 0 to size − 1.
        size: Number of permuted numbers, at least 1.
        seed: An integer scalar.
        stream: See `uniform`.

    Returns:
        int32 `(n,)`, different for different points. Time and memory are O(n + √size).

    Example:

    >>> sorted(map(int, permute(np.arange(5, dtype="int32"), 5, seed=1, stream=0)))
    [0, 1, 2, 3, 4]
    """
    width = math.isqrt(size - 1) + 1
    height = -(-size // width)
    # Integers: conversion from floats can differ under XLA.
    amounts = backend.integers((_ROUNDS, 2, width), (seed, stream))

    def move(places):
        row, column = places // width, places % width
        for number in range(_ROUNDS):
            column = (column + ops.take(amounts[number, 0], row)) % width
            row = (row + ops.take(amounts[number, 1], column)) % height
        return row * width + column

    return ops.while_loop(
        lambda places: ops.any(places >= size),
        lambda places: (ops.where(places >= size, move(places), places),),
        (move(points),),
    )[0]


def stream_of(purpose: str, seed: int) -> int:
    """Returns a stream of random numbers for a purpose and a seed.

    Args:
        purpose: What the numbers are for.
        seed: The seed of the experiment.

    Returns:
        A number of 31 bits, as `uniform` takes it.
    """
    return zlib.crc32(f"{purpose} {seed}".encode()) >> 1


def seed_of(vectors):
    """Computes a seed from the bits of vectors; any change of a vector changes it.

    Args:
        vectors: A float tensor.

    Returns:
        An int32 scalar: equal for equal vectors in any order.
    """
    # Sums of integers overflow in the same way in any order, while sums of floats depend on it.
    return ops.sum(backend.bits_of(vectors))
