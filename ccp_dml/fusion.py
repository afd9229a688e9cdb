"""Work over large tensors in one pass, compiled by XLA."""

import functools
import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

# 4 MB of float32, about what the caches hold. Below, writing what is in between costs little, and
# a call of what is compiled costs more.
_LARGE = 2**20


def is_large(shape: Sequence[int | None]) -> bool:
    """Whether tensors of a shape are worth compiling for; not if it is unknown before the step."""
    return None not in shape and math.prod(shape) >= _LARGE


def fuse_if_large(size: Callable[..., tuple[int | None, ...]]) -> Callable[[Callable], Callable]:
    """Has XLA compile a function where what it would write to memory is large.

    TensorFlow runs one operation after another, and each writes its result: `a * b + c` goes over
    memory three times. XLA does it once, and writes nothing that a sum follows. Within a step that
    is itself compiled (`jit_compile`), and with other backends, nothing is added.

    Args:
        size: Function of the arguments: the shape of the largest result within the function. Where
            it is not known before the step runs, the function is not compiled.

    Returns:
        A decorator of functions of tensors.
    """

    def decorate(function):
        if keras.backend.backend() != "tensorflow":
            return function
        compiled = tf.function(function, jit_compile=True, autograph=False)

        @functools.wraps(function)
        def call(*tensors):
            return (compiled if is_large(size(*tensors)) else function)(*tensors)

        return call

    return decorate


def fuse_if_any_large(function: Callable) -> Callable:
    """Has XLA compile a function of tensors, which may update variables, if one of them is large.

    Args:
        function: Takes tensors.

    Returns:
        The function, compiled where it is called in a graph with a large tensor; with sparse ones,
        such as the gradients of an embedding layer, it is not.
    """

    def call(*tensors):
        is_dense = all(isinstance(tensor, tf.Tensor) for tensor in tensors)
        if tf.executing_eagerly() or not is_dense:
            return function(*tensors)
        if not any(is_large(tensor.shape) for tensor in tensors):
            return function(*tensors)
        return tf.function(function, jit_compile=True, autograph=False)(*tensors)

    return call


def compute_with_gradients(function: Callable[..., tf.Tensor], *arguments) -> tf.Tensor:
    """Computes a scalar and, in the same compiled pass, its gradients.

    A tape would compile the two apart, and keep what the second needs of the first.

    Args:
        function: Computes a scalar from the arguments, and from other tensors that it has hold of,
            through which no gradient flows.
        *arguments: Floating-point tensors or variables, or dictionaries or lists of them.

    Returns:
        The scalar. Gradients can be taken of it, but not of these again.
    """

    @tf.function(jit_compile=True, autograph=False)
    def value_and_gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tf.nest.pack_sequence_as(arguments, tensors))
        return value, tape.gradient(value, tensors, unconnected_gradients="zero")

    @tf.custom_gradient
    def compute(*tensors):
        value, gradients = value_and_gradients(*tensors)
        return value, lambda upstream: [upstream * gradient for gradient in gradients]

    return compute(*map(tf.convert_to_tensor, tf.nest.flatten(arguments)))
