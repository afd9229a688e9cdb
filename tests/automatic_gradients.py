"""Gradients, as both of Keras's backends take them."""

import keras


def value_and_gradients(function, *inputs):
    """A scalar function's value, and its gradients by each of its inputs.

    Args:
        function: Computes a scalar from the inputs.
        *inputs: Arrays or tensors, or dictionaries or lists of them.

    Returns:
        The value and a list of gradients like the inputs, as tensors; zeros for those that the
        value does not depend on.
    """
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, list(inputs))
    if keras.backend.backend() == "jax":
        import jax

        # Compiled as a whole, as in a training step, and much sooner than operation by operation.
        both = jax.jit(jax.value_and_grad(function, tuple(range(len(inputs)))))
        value, gradients = both(*inputs)
        return value, list(gradients)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return value, tape.gradient(value, inputs, unconnected_gradients="zero")
