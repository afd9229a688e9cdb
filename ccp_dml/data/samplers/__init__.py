"""Samplers: pipelines of the indices of samples, in batches of several samples of some classes.

Samplers only know the labels and yield indices, so that nothing is read needlessly. They work on
whole vectors, once for each pass over the classes.
"""

import inspect
from collections.abc import Callable

import tensorflow as tf

from ccp_dml.data.samplers.balanced import balanced_batches
from ccp_dml.data.samplers.class_draws import class_draws
from ccp_dml.data.samplers.hard_classes import ClassNeighbors, hard_class_batches
from ccp_dml.data.samplers.hierarchical import hierarchical_batches
from ccp_dml.data.samplers.proportional import proportional_batches
from ccp_dml.data.samplers.seeds import stateless_seed

SAMPLERS: dict[str, Callable[..., tf.data.Dataset]] = {
    "balanced": balanced_batches,
    "proportional": proportional_batches,
    "hierarchical": hierarchical_batches,
    "hard_classes": hard_class_batches,
}
"""The samplers by name."""
# Arguments that describe the data, not choices.
_NO_PARAMETERS = ("super_classes", "neighbors")


def sampler_parameters(name: str) -> list[str]:
    """Returns the names of a sampler's own parameters, all of them numbers.

    Args:
        name: One of `SAMPLERS`.

    Example:

    >>> sampler_parameters("hierarchical"), sampler_parameters("balanced")
    (['super_classes_per_batch'], [])
    """
    known = inspect.signature(SAMPLERS[name]).parameters.values()
    return [
        each.name
        for each in known
        if each.kind is each.KEYWORD_ONLY and each.name not in _NO_PARAMETERS
    ]


__all__ = [
    "SAMPLERS",
    "ClassNeighbors",
    "balanced_batches",
    "class_draws",
    "hard_class_batches",
    "hierarchical_batches",
    "proportional_batches",
    "sampler_parameters",
    "stateless_seed",
]
