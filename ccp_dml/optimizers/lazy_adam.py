"""Adam for weights of which each step changes only a few rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from ccp_dml import backend


class RowGradient(NamedTuple):
    """The gradient of some rows of a weight.

    Attributes:
        gradient: `(n, ...)`.
        rows: The indices of these rows, int32 `(n,)`, all different.
        values: The values of these rows before the step `(n, ...)`.
    """

    gradient: Any
    rows: Any
    values: Any


@keras.saving.register_keras_serializable("ccp_dml")
class LazyAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba, ICLR 2015) that leaves rows without a gradient unchanged.

    Every row of a lazy weight is trained as if by an Adam of its own that only knows the steps in
    which the row had a gradient: in other steps neither the row nor its moments change, and the
    bias correction of the moments uses the number t of the row's own steps. Keras's Adam would let
    the moments of all rows decay and move all rows by them in every step. If all rows have
    gradients in every step, the two are the same.

    A counter t of the whole training would be wrong: the moments of a row that has had k gradients
    are biased by `1 − βᵏ`, and its steps would be `(1 − β₁ᵏ)/√(1 − β₂ᵏ)` times too long, up to six
    times for the default β.

    Gradients of rows are applied by `ccp_dml.optimizers.update_rows`, and all others, including
    those of whole lazy weights, by `apply`, as in Keras's Adam.

    Args:
        learning_rate: See `keras.optimizers.Adam`. Defaults to 0.001.
        lazy: Names of layers or weights, parts of the weights' paths, that get gradients of rows.
            Defaults to `("proxies",)`.
        **kwargs: See `keras.optimizers.Adam`; all except `amsgrad`.

    Raises:
        ValueError: With `amsgrad`.

    Example:

    >>> from ccp_dml.optimizers import update_rows
    >>> optimizer = LazyAdam(0.5, lazy=["table"])
    >>> table = keras.Variable(np.zeros((3, 1), "float32"), name="table")
    >>> optimizer.build([table])
    >>> rows = ops.convert_to_tensor([1])
    >>> update_rows(optimizer, ops.convert_to_tensor([[5.0]]), table, rows)
    >>> ops.convert_to_numpy(table).round(3).tolist()
    [[0.0], [-0.5], [0.0]]
    """

    def __init__(self, learning_rate: Any = 0.001, lazy: Sequence[str] = ("proxies",), **kwargs):
        super().__init__(learning_rate, **kwargs)
        if self.amsgrad:
            raise ValueError("LazyAdam does not support amsgrad: use keras.optimizers.Adam")
        self.lazy = tuple(lazy)
        self._row_steps = {}

    def is_lazy(self, variable: keras.Variable) -> bool:
        """Returns whether a variable may get gradients of rows."""
        return not set(self.lazy).isdisjoint(variable.path.split("/"))

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._row_steps = {
            index: self.add_variable(variable.shape[:1], dtype="int", name=f"row_steps_{index}")
            for index, variable in enumerate(variables)
            if self.is_lazy(variable)
        }

    def update_step(self, gradient, variable, learning_rate):
        if not isinstance(gradient, RowGradient):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        momentums, velocities = self._momentums[index], self._velocities[index]
        row_steps = self._row_steps[index]
        rows, values = gradient.rows, gradient.values
        steps = backend.read_rows(row_steps, rows) + 1
        values, momentum, velocity = _take_adam_step(
            values,
            ops.cast(gradient.gradient, variable.dtype),
            backend.read_rows(momentums, rows),
            backend.read_rows(velocities, rows),
            ops.cast(steps, variable.dtype)[:, None],
            ops.cast(learning_rate, variable.dtype),
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )
        # Subtracting in place takes ten times as long.
        backend.write_rows(variable, rows, values)
        backend.write_rows(momentums, rows, momentum)
        backend.write_rows(velocities, rows, velocity)
        backend.write_rows(row_steps, rows, steps)

    def get_config(self):
        config = super().get_config()
        del config["amsgrad"]
        return {**config, "lazy": list(self.lazy)}


@backend.fuse_if_large(lambda values, *others: values.shape)
def _take_adam_step(
    values, gradient, momentum, velocity, steps, learning_rate, beta_1, beta_2, epsilon
):
    """Returns rows `(n, d)` and their moments after `steps` `(n, 1)`."""
    momentum += (1 - beta_1) * (gradient - momentum)
    velocity += (1 - beta_2) * (ops.square(gradient) - velocity)
    alpha = learning_rate * ops.sqrt(1 - beta_2**steps) / (1 - beta_1**steps)
    return values - alpha * momentum / (ops.sqrt(velocity) + epsilon), momentum, velocity
