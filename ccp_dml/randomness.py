"""Random numbers without state: equal seeds give equal numbers, on every replica and under XLA."""

import math
import zlib

from keras import ops

from ccp_dml import backend

_ROUNDS = 4


def uniform(shape, seed, stream: int):
    """Uniform random numbers in [0, 1).

    Args:
        shape: Their shape.
        seed: An integer scalar.
        stream: A constant; different ones give independent numbers from the same seed.

    Returns:
        A float32 tensor.

    Example:

    >>> bool(ops.all(uniform((3,), 1, stream=0) == uniform((3,), 1, stream=0)))
    True
    """
    return backend.uniform(shape, (seed, stream))


def permute(points, size: int, seed, stream: int):
    """Values of a random permutation of 0…size − 1 at some points, without making the whole of it.

    A Feistel network: a number is a place in a grid that is about as wide as it is high, and in
    turn its column moves by a random amount that depends on the row, and its row by one that
    depends on the column. Each of these moves can be undone, so that different numbers stay
    different. The few that end in the unused corner of the grid move on until they leave it.

    Args:
        points: int32 `(n,)`, from 0 to size − 1.
        size: How many numbers are permuted, at least 1.
        seed: An integer scalar.
        stream: See `uniform`.

    Returns:
        int32 `(n,)`, different where the points are. Time and memory are O(n + √size).

    Example:

    >>> sorted(map(int, permute(np.arange(5, dtype="int32"), 5, seed=1, stream=0)))
    [0, 1, 2, 3, 4]
    """
    width = math.isqrt(size - 1) + 1
    height = -(-size // width)
    # Integers: those made of floats can be others under XLA.
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
    """A stream of random numbers for a purpose, another one for each seed.

    Args:
        purpose: What the numbers are for.
        seed: The seed of the experiment.

    Returns:
        What `uniform` takes, of 31 bits.
    """
    return zlib.crc32(f"{purpose} {seed}".encode()) >> 1


def seed_of(vectors):
    """A seed computed from the bits of vectors, different as soon as one of them is.

    Args:
        vectors: A float tensor.

    Returns:
        An int32 scalar: equal for equal vectors in any order.
    """
    # Integers overflow the same way in any order, which floats added up do not.
    return ops.sum(backend.bits_of(vectors))
