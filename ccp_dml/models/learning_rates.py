"""Learning rates that differ between the weights of a model."""

import math
from collections.abc import Mapping, Sequence

import keras
from keras import ops

from ccp_dml.checks import list_first
from ccp_dml.models.keras_internals import scale_steps

_LISTED_AT_MOST = 16


def scale_learning_rates(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    multipliers: Mapping[str, float],
    freezable: Sequence[keras.Variable] = (),
    frozen: keras.Variable | None = None,
):
    """Makes an optimizer take larger or smaller steps for some of the variables.

    Unlike larger gradients, larger steps mean the same for every optimizer; Adam's do not depend
    on the size of the gradients. It is not saved with the optimizer: the model that has the
    multipliers does it again when it is compiled.

    Args:
        optimizer: A Keras optimizer that updates the variables one by one, as all that come with
            Keras do.
        variables: The variables it trains, in the order it was, or will be, built with.
        multipliers: Factors of the learning rate by a part of the variables' paths, as in
            `{"proxies": 100}`; if several parts of a path have one, they are multiplied.
        freezable: Those of the variables that are not changed while `frozen` is set.
        frozen: A boolean variable, if any are freezable.

    Raises:
        ValueError: If a multiplier matches no variable.
    """
    for part in multipliers:
        if not any(part in variable.path.split("/") for variable in variables):
            # The last ones first, because backbones, with hundreds of them, begin.
            paths = reversed([variable.path for variable in variables])
            raise ValueError(
                f"the learning rate multiplier {part!r} matches no weight; the weights are "
                f"{list_first(paths, _LISTED_AT_MOST)}"
            )
    if not multipliers and not freezable:
        return
    factors = [
        math.prod(multipliers.get(part, 1.0) for part in variable.path.split("/"))
        for variable in variables
    ]
    freezable_ids = set(map(id, freezable))
    is_freezable = [id(variable) in freezable_ids for variable in variables]

    def factor(index):
        return (
            ops.where(frozen.value, 0.0, factors[index]) if is_freezable[index] else factors[index]
        )

    scale_steps(optimizer, factor)
