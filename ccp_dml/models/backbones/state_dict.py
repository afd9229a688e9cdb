"""Conversion of PyTorch state dicts to Keras weights."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from ccp_dml.checks import list_first

_MAX_LISTED = 5


class Source(NamedTuple):
    """The place of a Keras weight in a state dict.

    Attributes:
        key: Its name there.
        shape: The shape it has there.
        convert: Function from an array of that shape to the weight.
    """

    key: str
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]


def convert(state_dict: Mapping[str, Any], network: keras.Model, title: str) -> list[np.ndarray]:
    """Converts arrays of a state dict to the weights of a network.

    Args:
        state_dict: Arrays, or anything that `np.asarray` converts, by name. Vectors may be `(1, n)`
            instead of `(n,)`. Arrays that the network does not have, such as a classifier, are
            ignored.
        network: The network, whose layers have the names of PyTorch's modules: convolutions, dense
            layers, layer and batch normalisation, attention whose queries, keys and values PyTorch
            computes by one matrix `qkv`, and layers that list the names of their weights in
            `names_in_torch`.
        title: Name of the network, for messages.

    Returns:
        float32 arrays, as `network.set_weights` takes them.

    Raises:
        ValueError: If a name is missing or its array has another shape; the message names them.
    """
    sources = find_sources(network)
    keys = dict.fromkeys(source.key for source in sources)
    missing = [key for key in keys if key not in state_dict]
    if missing:
        raise ValueError(
            f"the weights are not those of {title}: "
            f"{list_first(missing, _MAX_LISTED)} of the {len(keys)} needed are missing"
        )
    arrays = {key: _drop_leading_axis(np.asarray(state_dict[key])) for key in keys}
    wrong = dict.fromkeys(
        f"{source.key} is {np.shape(state_dict[source.key])} instead of {source.shape}"
        for source in sources
        if arrays[source.key].shape != source.shape
    )
    if wrong:
        raise ValueError(f"the weights are not those of {title}: {list_first(wrong, _MAX_LISTED)}")
    return [source.convert(arrays[source.key]).astype("float32") for source in sources]


def find_sources(network: keras.Model) -> list[Source]:
    """Finds the weights of a network in a state dict, in Keras's order; see `convert`."""
    return [source for layer in network.layers for source in _find_sources_of_layer(layer)]


def _find_sources_of_layer(layer):
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _find_sources_of_attention(layer)
    if hasattr(layer, "names_in_torch"):
        return [
            Source(name, tuple(weight.shape), np.asarray)
            for name, weight in zip(layer.names_in_torch, layer.weights, strict=True)
        ]
    parts = ["weight", "bias"]
    if isinstance(layer, keras.layers.BatchNormalization):
        parts += ["running_mean", "running_var"]
    return [
        _find_source(f"{layer.name}.{part}", weight)
        for part, weight in zip(parts[: len(layer.weights)], layer.weights, strict=True)
    ]


def _find_source(key, weight):
    # Kernels are (out, in, height, width) or (out, in) in PyTorch.
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[len(weight.shape)]
    shape = tuple(weight.shape[place] for place in np.argsort(axes))
    return Source(key, shape, lambda array: array.transpose(axes))


def _find_sources_of_attention(layer):
    name, sources = layer.name, []
    # Kernels and biases of queries, keys, values, and of the output.
    *inputs, output_kernel, output_bias = layer.weights
    for index, weight in enumerate(inputs):
        part = index // 2
        is_kernel = index % 2 == 0
        size = int(np.prod(weight.shape[-2:]))
        shape = (3 * size, weight.shape[0]) if is_kernel else (3 * size,)
        key = f"{name}.qkv.{'weight' if is_kernel else 'bias'}"
        sources.append(Source(key, shape, _part_of_three(part, tuple(weight.shape))))
    heads, size, channels = output_kernel.shape
    sources.append(
        Source(
            f"{name}.proj.weight",
            (channels, heads * size),
            lambda array: array.T.reshape(heads, size, channels),
        )
    )
    return [*sources, _find_source(f"{name}.proj.bias", output_bias)]


def _part_of_three(part, shape):
    return lambda array: np.split(array, 3)[part].T.reshape(shape)


def _drop_leading_axis(array):
    return array[0] if array.ndim == 2 and len(array) == 1 else array
