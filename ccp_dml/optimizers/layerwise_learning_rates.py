"""An optimizer whose learning rate differs between the weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from ccp_dml.checks import check_at_least
from ccp_dml.optimizers.keras_internals import OptimizerWrapper


@keras.saving.register_keras_serializable("ccp_dml")
class LayerwiseLearningRates(OptimizerWrapper):
    """An optimizer that takes larger or smaller steps for some of the weights.

    Unlike larger gradients, larger steps mean the same for every optimizer: Adam's steps, for
    example, do not depend on the size of the gradients. The optimizer's own weight decay is
    multiplied too, so that a weight whose multiplier is 0 does not change at all.

    The models of `ccp_dml.models` wrap their optimizer in it, for their argument
    `learning_rate_multipliers`. It shares the state of the optimizer that it wraps and is saved
    with it and with the multipliers.

    Args:
        inner_optimizer: A Keras optimizer. It must not decay weights in a way of its own, as only
            `keras.optimizers.Muon` does.
        multipliers: Factors of the learning rate, one for each variable, in the order in which the
            optimizer is built with them.
        name: Name of the optimizer. Defaults to `None`: that of the class.

    Raises:
        ValueError: If a multiplier is negative, or, when the optimizer is built, if there are more
            or fewer multipliers than variables.

    Example:

    >>> optimizer = LayerwiseLearningRates(keras.optimizers.SGD(0.5), [1.0, 0.1])
    >>> weights = [keras.Variable([1.0]), keras.Variable([1.0])]
    >>> optimizer.apply([ops.ones((1,)), ops.ones((1,))], weights)
    >>> [round(float(weight[0]), 3) for weight in weights]
    [0.5, 0.95]
    """

    _read_frozen: Callable[[], Any]

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        multipliers: Sequence[float],
        name: str | None = None,
    ):
        super().__init__(inner_optimizer, name=name)
        for multiplier in multipliers:
            check_at_least("multipliers", multiplier, 0)
        self.multipliers = tuple(multipliers)
        self._is_freezable = [False] * len(self.multipliers)

    def build(self, variables):
        """Builds the inner optimizer.

        Args:
            variables: The variables that the multipliers apply to, in the same order.

        Raises:
            ValueError: If there is not one multiplier for each.
        """
        if len(variables) != len(self.multipliers):
            raise ValueError(
                f"there are {len(self.multipliers)} multipliers for {len(variables)} variables"
            )
        super().build(variables)

    def freeze_while(self, frozen: keras.Variable, is_freezable: Sequence[bool]):
        """Makes some of the learning rates 0 while a variable is set.

        Gradients still enter the moments. This is not saved: the variable belongs to the caller,
        who has to call this again.

        Args:
            frozen: A boolean variable.
            is_freezable: For each multiplier, whether it is 0 while the variable is set.
        """
        self._is_freezable = list(is_freezable)
        # Not the variable itself, which does not belong to the optimizer.
        self._read_frozen = lambda: frozen.value

    def multiplier_of(self, variable):
        """Returns the current factor of the learning rate of a variable.

        Args:
            variable: One that the optimizer was built with, or the copy of it that a replica has.

        Returns:
            A number, or a scalar tensor.
        """
        index = self.index_of(variable)
        multiplier = self.multipliers[index]
        if not self._is_freezable[index]:
            return multiplier
        return ops.where(self._read_frozen(), 0.0, multiplier)

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = learning_rate * self.multiplier_of(variable)
        if self.weight_decay and self.decays(variable):
            decay = variable * ops.cast(self.weight_decay, variable.dtype)
            self.assign_sub(variable, decay * ops.cast(learning_rate, variable.dtype))
        self.inner_optimizer.update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "multipliers": list(self.multipliers)}
