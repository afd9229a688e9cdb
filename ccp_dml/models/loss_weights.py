"""What a loss learns beside the embeddings, as weights of the model that it trains."""

from collections.abc import Mapping

import keras
import numpy as np


@keras.saving.register_keras_serializable("ccp_dml")
class LossWeights(keras.layers.Layer):
    """Trainable weights of a loss, such as the boundaries of `ccp_dml.losses.Margin`.

    Empty until `start` is called, which is when the loss is known: when the model is compiled.
    """

    def start(self, initial_weights: Mapping[str, np.ndarray]):
        """Makes a weight of each array, unless they were made before.

        Args:
            initial_weights: As a loss's `initial_weights` gives them.

        Raises:
            ValueError: If the weights of another loss are there already.
        """
        wanted = {name: np.shape(values) for name, values in initial_weights.items()}
        present = {weight.name: tuple(weight.shape) for weight in self.weights}
        if wanted == present:
            return
        if present:
            raise ValueError(
                f"the model has the weights {', '.join(present)} of another loss: make a new model "
                f"for this one, whose weights are {', '.join(wanted) or 'none'}"
            )
        for name, values in initial_weights.items():
            weight = self.add_weight(
                shape=np.shape(values), initializer="zeros", name=name, autocast=False
            )
            weight.assign(values)
        self.built = True

    def by_name(self) -> dict:
        """The tensors that the loss takes when it is called."""
        return {weight.name: weight.value for weight in self.weights}

    def load_own_variables(self, store):
        # A model that is loaded without its loss has no use for them.
        if self.built:
            super().load_own_variables(store)
