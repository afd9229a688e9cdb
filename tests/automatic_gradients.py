"""Gradients on either of the backends, TensorFlow and JAX."""

import keras


def value_and_gradients(function, *inputs):
    """The value of a scalar function and its gradients with respect to its inputs.

    Args:
        function: Computes a scalar from the inputs.
        *inputs: Arrays or tensors, or dictionaries or lists of them.

    Returns:
        The value, and a list of gradients with the structure of the inputs, as tensors. Inputs that
        the value does not depend on have gradients of zero.
    """
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, list(inputs))
    if keras.backend.backend() == "jax":
        import jax

        # Compiled as a whole, as in a training step; operation by operation would be much slower.
        both = jax.jit(jax.value_and_grad(function, tuple(range(len(inputs)))))
        value, gradients = both(*inputs)
        return value, list(gradients)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return value, tape.gradient(value, inputs, unconnected_gradients="zero")
