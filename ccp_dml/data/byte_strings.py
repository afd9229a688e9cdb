"""Bytes and numbers in strings, such as encoded images, in TensorFlow graphs."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

_MAX_SEGMENTS = 1000
_STRING = tf.TensorSpec((), tf.string)


def separate_function(
    *signature: tf.TensorSpec,
) -> Callable[[Callable], tf.types.experimental.PolymorphicFunction]:
    """Decorates a function so that it is a single operation of a graph.

    TensorFlow visits every operation of a branch that is not taken, for every image; a rare branch
    with hundreds of operations then counts as one. Eager execution is faster, too.

    Args:
        *signature: The tensors that the function takes. Defaults to one string scalar.
    """
    return lambda function: tf.function(
        function,
        input_signature=signature or [_STRING],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def read_bytes(contents: tf.Tensor, start: tf.Tensor | int, count: int) -> tf.Tensor:
    """Reads some of the bytes of a string.

    Args:
        contents: A string scalar.
        start: Position of the first, an int32 scalar of at least 0.
        count: Number of bytes.

    Returns:
        int32 `(count,)`; zeros beyond the end.

    Example:

    >>> read_bytes(tf.constant(b"ab"), 1, 3).numpy()
    array([98,  0,  0], dtype=int32)
    """
    if not isinstance(start, int) or start > 0:
        start = tf.minimum(start, tf.strings.length(contents))
    part = tf.strings.substr(contents, start, count)
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int32)


def are_bytes(values: tf.Tensor, expected: bytes) -> tf.Tensor:
    """Returns whether bytes, integers `(count,)`, equal a string of that length."""
    return tf.reduce_all(values == list(expected))


def big_endian(values: tf.Tensor) -> tf.Tensor:
    """Combines bytes, integers along the last axis, to numbers, the highest byte first.

    Returns:
        int32; four bytes are a signed number.

    Example:

    >>> int(big_endian(tf.constant([1, 2])))
    258
    """
    places = 256 ** np.arange(values.shape[-1] - 1, -1, -1, dtype="int32")
    return tf.reduce_sum(values * places, axis=-1)


def little_endian(values: tf.Tensor) -> tf.Tensor:
    """Does the same with the lowest byte first."""
    places = 256 ** np.arange(values.shape[-1], dtype="int32")
    return tf.reduce_sum(values * places, axis=-1)


def little_endian_fields(values: tf.Tensor, *fields: tuple[int, int]) -> list[tf.Tensor]:
    """Reads numbers at several places of the same bytes with few operations.

    A graph with fewer operations takes less time to start.

    Args:
        values: Bytes, integers `(count,)`.
        *fields: Where each number begins, and of how many bytes it is.

    Returns:
        An int32 scalar for each field.

    Example:

    >>> [int(number) for number in little_endian_fields(tf.constant([1, 2, 3]), (0, 2), (2, 1))]
    [513, 3]
    """
    places = np.zeros((len(fields), values.shape[0]), "int64")
    for row, (start, size) in zip(places, fields, strict=True):
        row[start : start + size] = 256 ** np.arange(size)
    return tf.unstack(tf.reduce_sum(values * places.astype("int32"), axis=1))


def to_little_endian(number: tf.Tensor | int) -> tf.Tensor:
    """Returns the four bytes of an int32 scalar as a string scalar, the lowest first."""
    every_byte = tf.constant([bytes([value]) for value in range(256)])
    places = 256 ** np.arange(4, dtype="int32")
    return tf.strings.reduce_join(tf.gather(every_byte, number // places % 256))


class Segment(NamedTuple):
    """A part of a file, such as a segment of a JPEG or a chunk of a PNG.

    Attributes:
        is_valid: Whether there is such a part, a boolean scalar; otherwise the search ends.
        is_wanted: Whether it is the one searched for.
        start: Start of its data, an int32 scalar.
        length: Number of bytes of its data.
        following: Start of the next part.
    """

    is_valid: tf.Tensor
    is_wanted: tf.Tensor
    start: tf.Tensor
    length: tf.Tensor
    following: tf.Tensor


def find_segment(
    start: int, read_segment: Callable[[tf.Tensor], Segment]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches for a part of a file, among the first 1,000.

    Args:
        start: Start of the first part.
        read_segment: Reads the part at a position, an int32 scalar.

    Returns:
        Start and number of bytes of the data of the first part that is wanted; 0 and 0 if there is
        none.
    """

    def search(position, _, start, length):
        segment = read_segment(position)
        found = segment.is_valid & segment.is_wanted
        return (
            segment.following,
            segment.is_valid & ~segment.is_wanted,
            tf.where(found, segment.start, start),
            tf.where(found, segment.length, length),
        )

    _, _, start, length = tf.while_loop(
        lambda _, is_searching, *__: is_searching,
        search,
        (tf.constant(start), tf.constant(True), tf.constant(0), tf.constant(0)),
        maximum_iterations=_MAX_SEGMENTS,
    )
    return start, length


def find_riff_chunk(contents: tf.Tensor, name: bytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches for a chunk of a RIFF file, such as a WebP, by its name.

    Args:
        contents: The file, a string scalar.
        name: Its four letters.

    Returns:
        See `find_segment`.
    """

    def read_chunk(position):
        head = read_bytes(contents, position, 8)
        length = little_endian(head[4:])
        is_chunk = (length >= 0) & (position < size)
        following = position + 8 + length + length % 2
        return Segment(is_chunk, are_bytes(head[:4], name), position + 8, length, following)

    size = tf.strings.length(contents)
    return find_segment(12, read_chunk)
