"""Work over large arrays in one pass, compiled by XLA; a training step is compiled as a whole."""

import functools
from collections.abc import Callable, Sequence

import jax

from ccp_dml.backend.size import is_large


def fuse_if_large(size: Callable[..., tuple[int | None, ...]]) -> Callable[[Callable], Callable]:
    """Makes XLA compile a function if what it would write to memory is large.

    Args:
        size: Function of the arguments: the shape of the largest result within the function.

    Returns:
        A decorator of functions of arrays.
    """

    def decorate(function):
        compiled = jax.jit(function)

        @functools.wraps(function)
        def call(*arrays):
            return (compiled if is_large(size(*arrays)) else function)(*arrays)

        return call

    return decorate


def fuse_if_any_large(function: Callable) -> Callable:
    """Returns a function as it is, because it updates variables, which happens only in a step."""
    return function


def compute_with_gradients(
    function: Callable[..., jax.Array], arguments: Sequence, constants: Sequence = ()
) -> jax.Array:
    """Computes a scalar that gradients can be taken of.

    Args:
        function: Function that computes a scalar from the arguments and the constants.
        arguments: Arrays, or dictionaries or lists of them.
        constants: Arrays through which no gradient flows.

    Returns:
        The scalar.
    """
    return function(*arguments, *constants)
