"""Work over large tensors in one pass, compiled by XLA."""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from ccp_dml.backend.size import is_large


def fuse_if_large(size: Callable[..., tuple[int | None, ...]]) -> Callable[[Callable], Callable]:
    """Makes XLA compile a function if what it would write to memory is large.

    TensorFlow runs one operation after another, and each writes its result: `a * b + c` passes over
    memory three times. XLA does it in one pass, and does not store terms of a sum. Within a step
    that is itself compiled (`jit_compile`) this has no effect.

    Args:
        size: Function of the arguments: the shape of the largest result within the function. If it
            is not known before the step, the function is not compiled.

    Returns:
        A decorator of functions of tensors.
    """

    def decorate(function):
        compiled = tf.function(function, jit_compile=True, autograph=False)

        @functools.wraps(function)
        def call(*tensors):
            return (compiled if is_large(size(*tensors)) else function)(*tensors)

        return call

    return decorate


def fuse_if_any_large(function: Callable) -> Callable:
    """Makes XLA compile a function of tensors, which may update variables, if one is large.

    Args:
        function: Function of tensors.

    Returns:
        The function, compiled if it is called in a graph with a large tensor, but not with sparse
        tensors, such as the gradients of an embedding layer.
    """

    def call(*tensors):
        is_dense = all(isinstance(tensor, tf.Tensor) for tensor in tensors)
        if not is_dense or not _is_in_graph_and_large(tensors):
            return function(*tensors)
        return tf.function(function, jit_compile=True, autograph=False)(*tensors)

    return call


def _is_in_graph_and_large(tensors):
    return not tf.executing_eagerly() and any(is_large(tensor.shape) for tensor in tensors)


def compute_with_gradients(
    function: Callable[..., tf.Tensor], arguments: Sequence, constants: Sequence = ()
) -> tf.Tensor:
    """Computes a scalar and, in the same compiled pass, its gradients, if a tensor is large.

    A tape would compile the scalar and the gradients separately, and store the intermediate results
    that the gradients need.

    Args:
        function: Computes a scalar from the arguments and the constants.
        arguments: Floating-point tensors or variables, or dictionaries or lists of them.
        constants: Tensors through which no gradient flows.

    Returns:
        The scalar. Gradients can be taken of it, but if it was compiled, no second derivatives.
    """
    flat = tf.nest.flatten(arguments)
    if not _is_in_graph_and_large([*flat, *constants]):
        return function(*arguments, *constants)

    @tf.function(jit_compile=True, autograph=False)
    def value_and_gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tf.nest.pack_sequence_as(arguments, tensors), *constants)
        return value, tape.gradient(value, tensors, unconnected_gradients="zero")

    @tf.custom_gradient
    def compute(*tensors):
        value, gradients = value_and_gradients(*tensors)
        return value, lambda upstream: [upstream * gradient for gradient in gradients]

    return compute(*map(tf.convert_to_tensor, flat))
