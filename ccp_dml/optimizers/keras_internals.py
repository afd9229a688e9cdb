"""Parts of Keras outside its public interface that the optimizers need.

`tests/optimizers/test_keras_internals.py` fails when a new version of Keras no longer has them.
"""

from collections.abc import Mapping
from typing import Any

import keras

# Attributes for the work that an optimizer does around the steps of its variables.
_OPTIONS = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)
# The state that it keeps for that, besides the state of the steps.
_STATE = (
    "_trainable_variables",
    "_trainable_variables_indices",
    "_model_variables_moving_average",
    "_accumulated_gradients",
)


def find_moving_averages(
    optimizer: keras.optimizers.Optimizer,
) -> list[tuple[keras.Variable, keras.Variable]]:
    """Pairs the variables that an optimizer trains with their moving averages, if it has `use_ema`.

    Args:
        optimizer: A Keras optimizer.
    """
    if not optimizer.use_ema or not optimizer.built:
        return []
    averages = optimizer._model_variables_moving_average
    return list(zip(optimizer._trainable_variables, averages, strict=True))


class OptimizerWrapper(keras.optimizers.Optimizer):
    """An optimizer whose variables take the steps of another one, and which shares its state.

    A subclass defines the step of a variable in `update_step`. Everything around the steps
    (clipping, moving averages, the accumulation of gradients, the number of the step) follows the
    inner optimizer and uses its variables; the wrapper has none of its own. Weight decay is part of
    the step, and so the responsibility of the subclass.

    Args:
        inner_optimizer: A Keras optimizer.
        name: Name of the wrapper. Defaults to `None`: that of its class.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, name: str | None = None):
        options = {option: getattr(inner_optimizer, option) for option in _OPTIONS}
        super().__init__(learning_rate=0.0, name=name, **options)
        self.inner_optimizer = inner_optimizer
        self._iterations = inner_optimizer._iterations
        if hasattr(inner_optimizer, "_distribution_strategy"):
            self._distribution_strategy = inner_optimizer._distribution_strategy

    def build(self, variables):
        """Builds the inner optimizer; see `keras.optimizers.Optimizer.build`."""
        if self.built:
            return
        self.inner_optimizer.build(variables)
        for name in _STATE:
            if hasattr(self.inner_optimizer, name):
                setattr(self, name, getattr(self.inner_optimizer, name))
        self.built = True

    @property
    def variables(self) -> list[keras.Variable]:
        return self.inner_optimizer.variables

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        self.inner_optimizer.learning_rate = learning_rate

    def index_of(self, variable) -> int:
        """Returns the position of a variable among those that the optimizer was built with.

        Args:
            variable: A variable, or the copy of it that a replica has.
        """
        return self._get_variable_index(variable)

    def decays(self, variable) -> bool:
        """Returns whether the inner optimizer's own weight decay, if any, applies to a variable.

        Args:
            variable: See `index_of`.
        """
        return self.inner_optimizer._use_weight_decay(variable)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def _apply_weight_decay(self, variables):
        pass

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Work that the inner optimizer does once for all variables, as in Nadam.
        self.inner_optimizer._backend_update_step([], [], learning_rate)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def set_weights(self, weights):
        self.inner_optimizer.set_weights(weights)

    def save_own_variables(self, store: Mapping[str, Any]):
        """Saves nothing: the inner optimizer is saved with its own variables."""

    def load_own_variables(self, store: Mapping[str, Any]):
        """Loads nothing, as nothing was saved."""

    def get_config(self):
        inner_optimizer = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "inner_optimizer": inner_optimizer}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner_optimizer = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner_optimizer})
