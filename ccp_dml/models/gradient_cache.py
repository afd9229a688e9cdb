"""Gradient caching: batches that a network processes in parts.

The gradient of a pairwise loss needs all embeddings at once, but the activations of only one sample
at a time (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
RepL4NLP 2021). The steps that do so are in `tensorflow_step.py` and `jax_step.py`.
"""

import keras
from keras import ops, tree

from ccp_dml import backend
from ccp_dml.models.keras_internals import flatten_layers


def split_batch(tensors, parts: int):
    """Splits batches into parts, each with every `parts`-th sample.

    Devices that share a batch, each with consecutive samples, then share each of its parts.

    Args:
        tensors: Tensors `(n, ...)`, nested or not.
        parts: Number of parts.

    Returns:
        Tensors `(n / parts, parts, ...)` in the same structure.

    Raises:
        ValueError: If the number does not divide n, which TensorFlow may only detect when the step
            is taken.
    """

    def split(tensor):
        tensor = ops.convert_to_tensor(tensor)
        size = ops.shape(tensor)[0]
        message = f"gradient_cache_parts={parts} must divide the samples of a batch"
        if isinstance(size, int) and size % parts:
            raise ValueError(f"{message} or of a replica's share of it, {size}")
        with backend.require(ops.equal(size % parts, 0), message):
            return ops.reshape(tensor, (size // parts, parts, *tensor.shape[1:]))

    return tree.map_structure(split, tensors)


def take_part(tensors, index):
    """Takes a part of batches.

    Args:
        tensors: As `split_batch` returns them.
        index: Number of the part, from 0.

    Returns:
        Tensors `(n / parts, ...)`.
    """
    return tree.map_structure(lambda tensor: tensor[:, index], tensors)


def join_parts(tensors):
    """Restores the original order of the samples of all parts.

    Args:
        tensors: Tensors `(parts, n / parts, ...)`, nested or not.

    Returns:
        Tensors `(n, ...)`.
    """

    def join(tensor):
        rows = ops.swapaxes(tensor, 0, 1)
        return ops.reshape(rows, (-1, *rows.shape[2:]))

    return tree.map_structure(join, tensors)


def find_random_states(model: keras.Model) -> list[keras.Variable]:
    """Finds the states of the random number generators in a model's layers, such as dropout.

    Args:
        model: The model.
    """
    return [each for each in model.non_trainable_variables if each.name == "seed_generator_state"]


def check_parts_are_independent(model: keras.Model):
    """Checks that the output of a network for a sample does not depend on the rest of the batch.

    Args:
        model: The network, built.

    Raises:
        ValueError: If batch normalisation is not frozen, or a loss depends on activations.
    """
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            raise ValueError(
                f"gradient_cache_parts needs frozen batch normalisation, but {layer.name} "
                "normalises with the statistics of each part alone: set freeze_batch_norm"
            )
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ValueError(
                f"gradient_cache_parts cannot be combined with activity_regularizer, as of "
                f"{layer.name}"
            )
