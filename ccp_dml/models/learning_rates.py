"""Learning rates that differ between the weights of a model."""

import fnmatch
import itertools
import math
import re
from collections.abc import Mapping, Sequence

import keras

from ccp_dml.checks import list_first, suggest
from ccp_dml.optimizers import LayerwiseLearningRates

_MAX_LISTED = 16
_BACKBONE = "backbone/"
# As in conv2_block1_1_conv, transformer_block_3, layers_11, stage_0_block_2, block1a, inception_3a.
_BLOCK = re.compile(r".*(?:block|layer|layers|stage|inception)_?\d+[a-z]?(?=[_/])")


def name_weights(model: keras.Model, variables: Sequence[keras.Variable]) -> list[str]:
    """Returns the names of variables, as learning rate multipliers refer to them.

    Args:
        model: A `MetricLearningModel`.
        variables: Some of its variables.

    Returns:
        Their paths; those of the backbone begin with `backbone/`.
    """
    backbone = getattr(model.embedding_model, "backbone", None)
    backbone_variables = set(map(id, backbone.variables)) if backbone is not None else set()
    return [
        f"{_BACKBONE if id(variable) in backbone_variables else ''}{variable.path}"
        for variable in variables
    ]


def find_multiplier(name: str, multipliers: Mapping[str, float]) -> float:
    """Finds the factor of the learning rate of a weight.

    Args:
        name: Its path, whose parts are separated by `/`.
        multipliers: Factors by pattern. A pattern matches the weights whose path contains it, as
            one part or several consecutive ones; `*`, `?` and `[…]` match as in file names, and `*`
            also matches several parts.

    Returns:
        The product of the factors whose patterns match; 1 if none does.

    Example:

    >>> multipliers = {"backbone": 0.5, "block_1": 0, "*block*/kernel": 0.5}
    >>> find_multiplier("backbone/block_2/kernel", multipliers)
    0.25
    >>> find_multiplier("backbone/block_1/bias", multipliers)
    0.0
    """
    factors = [factor for pattern, factor in multipliers.items() if _matches(name, pattern)]
    return math.prod(factors, start=1.0)


def check_multipliers(multipliers: Mapping[str, float], names: Sequence[str]):
    """Checks that every multiplier matches a weight.

    Args:
        multipliers: See `find_multiplier`.
        names: The names of all weights.

    Raises:
        ValueError: If a pattern matches none of them.
    """
    for pattern in multipliers:
        if not any(_matches(name, pattern) for name in names):
            raise ValueError(
                f"the learning rate multiplier {pattern!r} matches no weight; "
                f"{_suggest(pattern, names)}"
            )


def decay_by_depth(names: Sequence[str], layer_decay: float) -> list[float]:
    """Computes the factors of layer-wise learning rate decay (BEiT; Bao et al., ICLR 2022).

    The further a block of the backbone is from its end, the smaller its learning rate. Blocks are
    recognised by numbers in the names of their weights, as in `block_3`, `layers_11` or
    `conv2_block1`. Weights between two blocks belong to the first of them, and those before all
    blocks have the smallest learning rate.

    Args:
        names: Names of weights, as `name_weights` returns them, from the first layer to the last.
        layer_decay: Factor of the learning rate from one block to the one before.

    Returns:
        Factors: `layer_decay` for the last block, its square for the one before, and so on; 1 for
            weights outside the backbone.

    Raises:
        ValueError: If no weight is in a numbered block.

    Example:

    >>> names = ["stem/kernel", "block_1/kernel", "block_2/kernel", "norm/gamma"]
    >>> decay_by_depth([*[f"backbone/{name}" for name in names], "projection/kernel"], 0.5)
    [0.125, 0.25, 0.5, 0.5, 1.0]
    """
    depths, blocks = [], {}
    for name in names:
        block = _BLOCK.match(name)
        if block and name.startswith(_BACKBONE):
            blocks.setdefault(block[0], len(blocks) + 1)
        present = blocks[block[0]] if block and block[0] in blocks else len(blocks)
        depths.append(present if name.startswith(_BACKBONE) else None)
    if not blocks:
        raise ValueError(
            "layer_decay needs a backbone of numbered blocks, such as block_3 or layers_11: use "
            f"learning_rate_multipliers; the weights are {list_first(names, _MAX_LISTED)}"
        )
    return [
        1.0 if depth is None else float(layer_decay ** (len(blocks) + 1 - depth))
        for depth in depths
    ]


def freeze_weights(model: keras.Model) -> list[str]:
    """Makes the weights whose multiplier is 0 non-trainable.

    Args:
        model: A `MetricLearningModel`.

    Returns:
        The names of those that were trainable before.
    """
    variables = model.trainable_variables
    frozen = []
    for variable, name in zip(variables, name_weights(model, variables), strict=True):
        if find_multiplier(name, model.learning_rate_multipliers) == 0:
            variable.trainable = False
            frozen.append(name)
    return frozen


def set_learning_rates(
    optimizer: keras.optimizers.Optimizer, model: keras.Model, frozen_names: Sequence[str]
) -> LayerwiseLearningRates:
    """Wraps an optimizer so that each weight has the learning rate that the model wants.

    Args:
        optimizer: The optimizer of the model, possibly already wrapped, as after loading; a wrapped
            one keeps its multipliers if the model has none.
        model: A `MetricLearningModel`.
        frozen_names: The names of the weights that `freeze_weights` has frozen.

    Returns:
        The optimizer, for the model's trainable variables.

    Raises:
        ValueError: If a multiplier matches no weight, if they freeze all weights, or if
            `layer_decay` is given but the backbone has no numbered blocks.
    """
    variables = model.trainable_variables
    names = name_weights(model, variables)
    check_multipliers(model.learning_rate_multipliers, [*frozen_names, *names])
    if not variables:
        raise ValueError(
            f"the learning rate multipliers {model.learning_rate_multipliers} freeze all weights"
        )
    multipliers = [find_multiplier(name, model.learning_rate_multipliers) for name in names]
    if model.layer_decay != 1:
        decays = decay_by_depth(names, model.layer_decay)
        multipliers = [each * decay for each, decay in zip(multipliers, decays, strict=True)]
    if isinstance(optimizer, LayerwiseLearningRates):
        if not model.learning_rate_multipliers and model.layer_decay == 1:
            multipliers = optimizer.multipliers
        optimizer = optimizer.inner_optimizer
    optimizer = LayerwiseLearningRates(optimizer, multipliers)
    is_freezable = [name.startswith(_BACKBONE) for name in names]
    optimizer.freeze_while(model.backbone_frozen, is_freezable)
    return optimizer


def _matches(name, pattern):
    parts = name.split("/")
    ends = itertools.combinations(range(len(parts) + 1), 2)
    return any(fnmatch.fnmatchcase("/".join(parts[slice(*each)]), pattern) for each in ends)


def _suggest(pattern, names):
    parts = dict.fromkeys(part for name in names for part in name.split("/"))
    # Reversed, because the weights of the backbone, often hundreds, come first.
    listed = f"the weights are {list_first(reversed(names), _MAX_LISTED)}"
    return listed + suggest(pattern.split("/")[-1].strip("*"), parts)
