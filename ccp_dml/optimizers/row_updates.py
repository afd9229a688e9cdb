"""Steps of an optimizer that change only some rows of a weight."""

from typing import Any

import keras
from keras import ops

from ccp_dml import backend
from ccp_dml.distribution import update_copies
from ccp_dml.optimizers.layerwise_learning_rates import LayerwiseLearningRates
from ccp_dml.optimizers.lazy_adam import LazyAdam, RowGradient

# Options by which Keras's optimizers change whole variables besides their steps.
_WHOLE_VARIABLE_OPTIONS = ("weight_decay", "use_ema", "gradient_accumulation_steps")
_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def check_row_updates(optimizer: keras.optimizers.Optimizer, variable: keras.Variable):
    """Checks that an optimizer can update only some rows of a variable.

    Args:
        optimizer: A Keras optimizer, wrapped in a `LayerwiseLearningRates` or not.
        variable: The variable.

    Raises:
        ValueError: If it is neither a `LazyAdam` with this variable among its lazy ones nor
            `keras.optimizers.SGD` without momentum, or if it decays, averages, accumulates or clips
            on its own.
    """
    optimizer = _unwrap(optimizer)
    is_lazy = isinstance(optimizer, LazyAdam) and optimizer.is_lazy(variable)
    if not is_lazy and (type(optimizer) is not keras.optimizers.SGD or optimizer.momentum):
        raise ValueError(
            "only the rows of the sampled classes are updated, which requires "
            "ccp_dml.optimizers.LazyAdam (with 'proxies' among its lazy weights) or "
            f"keras.optimizers.SGD without momentum; got {type(optimizer).__name__}"
        )
    for name in (*_WHOLE_VARIABLE_OPTIONS, *_CLIPPING):
        if getattr(optimizer, name):
            raise ValueError(
                f"an optimizer with {name} cannot update only the rows of the sampled classes; "
                "weight_decay, clip_norm and clip_value are arguments of the model"
            )


def update_rows(
    optimizer: keras.optimizers.Optimizer,
    gradient: Any,
    variable: keras.Variable,
    rows: Any,
    values: Any = None,
):
    """Takes the optimizer's step for some rows of a variable; call it before `optimizer.apply`.

    Under a `tf.distribute` strategy every replica has to pass the same gradient, that of all
    replicas.

    Args:
        optimizer: An optimizer that passes `check_row_updates`.
        gradient: `(n, ...)`.
        variable: `(N, ...)`.
        rows: int32 `(n,)`, all different.
        values: The values of these rows `(n, ...)`, where they have been read before: rows of a
            large variable are not in the caches. Defaults to `None`: they are read.
    """
    if values is None:
        values = backend.read_rows(variable, rows)

    def update(copy, gradient, rows, values, learning_rate):
        if isinstance(optimizer, LayerwiseLearningRates):
            learning_rate = learning_rate * optimizer.multiplier_of(copy)
        inner_optimizer = _unwrap(optimizer)
        if isinstance(inner_optimizer, LazyAdam):
            inner_optimizer.update_step(RowGradient(gradient, rows, values), copy, learning_rate)
        else:
            _descend(gradient, copy, rows, values, learning_rate)

    update_copies(variable, update, gradient, rows, values, optimizer.learning_rate)


def _unwrap(optimizer):
    if isinstance(optimizer, LayerwiseLearningRates):
        return optimizer.inner_optimizer
    return optimizer


def _descend(gradient, variable, rows, values, learning_rate):
    """Takes the step of SGD, which Keras can only take for whole variables."""
    gradient = ops.cast(gradient, variable.dtype)
    steps = gradient * ops.cast(learning_rate, variable.dtype)
    backend.write_rows(variable, rows, values - steps)
