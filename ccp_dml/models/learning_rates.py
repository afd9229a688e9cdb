"""Learning rates that differ between the weights of a model."""

import difflib
import fnmatch
import itertools
import math
from collections.abc import Mapping, Sequence

import keras

from ccp_dml.checks import list_first

_LISTED_AT_MOST = 16


def name_weights(model: keras.Model, variables: Sequence[keras.Variable]) -> list[str]:
    """The names of variables that learning rate multipliers are for.

    Args:
        model: A `MetricLearningModel`.
        variables: Variables of it.

    Returns:
        Their paths; those of the backbone begin with `backbone/`.
    """
    backbone = getattr(model.embedding_model, "backbone", None)
    of_backbone = set(map(id, backbone.variables)) if backbone is not None else set()
    return [
        f"backbone/{variable.path}" if id(variable) in of_backbone else variable.path
        for variable in variables
    ]


def find_multipliers(names: Sequence[str], multipliers: Mapping[str, float]) -> list[float]:
    """The factors of the learning rates of weights.

    Args:
        names: Of the weights: paths, parts of which are separated by `/`.
        multipliers: Factors by patterns. A pattern stands for the weights that have it in their
            path, as one part or several in a row; `*`, `?` and `[…]` match as in the names of
            files, `*` several parts too.

    Returns:
        For each weight the product of the factors whose patterns match.

    Raises:
        ValueError: If a pattern matches no weight.

    Example:

    >>> names = ["backbone/block_1/kernel", "backbone/block_2/kernel", "projection/kernel"]
    >>> find_multipliers(names, {"backbone": 0.1, "block_1": 0, "*o*/kernel": 2})
    [0.0, 0.2, 2.0]
    """
    for pattern in multipliers:
        if not any(_matches(name, pattern) for name in names):
            raise ValueError(
                f"the learning rate multiplier {pattern!r} matches no weight; "
                f"{_suggest(pattern, names)}"
            )
    return [
        math.prod(
            [factor for pattern, factor in multipliers.items() if _matches(name, pattern)],
            start=1.0,
        )
        for name in names
    ]


def _matches(name, pattern):
    parts = name.split("/")
    ends = itertools.combinations(range(len(parts) + 1), 2)
    return any(fnmatch.fnmatchcase("/".join(parts[slice(*each)]), pattern) for each in ends)


def _suggest(pattern, names):
    parts = dict.fromkeys(part for name in names for part in name.split("/"))
    # The last ones first, because backbones, with hundreds of them, begin.
    paths = f"the weights are {list_first(reversed(names), _LISTED_AT_MOST)}"
    close = difflib.get_close_matches(pattern.split("/")[-1].strip("*"), parts)
    return f"did you mean {' or '.join(close)}? {paths}" if close else paths
