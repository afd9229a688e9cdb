"""Moving averages of weights, used in place of the weights."""

import contextlib
from collections.abc import Iterator, Sequence

import keras

from ccp_dml.optimizers.keras_internals import find_moving_averages


@contextlib.contextmanager
def averaged_weights(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> Iterator[None]:
    """A context in which variables have the values of their moving averages.

    Afterwards they have their own values again, to the last bit. `keras.callbacks.SwapEMAWeights`
    exchanges the two by sums, which rounds, and it does so for all weights, including proxies,
    which others may write to in the meantime.

    Args:
        optimizer: The optimizer that trains them. Without its `use_ema` nothing changes.
        variables: The variables. Those that it does not train keep their values.
    """
    wanted = set(map(id, variables))
    averages = [
        (variable, average)
        for variable, average in find_moving_averages(optimizer)
        if id(variable) in wanted
    ]
    own_values = [variable.numpy() for variable, _ in averages]
    for variable, average in averages:
        variable.assign(average.numpy())
    try:
        yield
    finally:
        for (variable, _), value in zip(averages, own_values, strict=True):
            variable.assign(value)
