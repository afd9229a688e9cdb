"""The weights that a loss learns besides the embeddings, as part of the trained model."""

from collections.abc import Mapping

import keras
import numpy as np


@keras.saving.register_keras_serializable("ccp_dml")
class LossWeights(keras.layers.Layer):
    """Trainable weights of a loss, such as the boundaries of `ccp_dml.losses.Margin`.

    Empty until `start` is called when the model is compiled, because only then is the loss known.
    """

    def start(self, initial_weights: Mapping[str, np.ndarray]):
        """Creates a weight for each array, unless they exist already.

        Args:
            initial_weights: What the `initial_weights` of a loss return.

        Raises:
            ValueError: If there are already weights of another loss.
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
        """Returns the tensors to call the loss with."""
        return {weight.name: weight.value for weight in self.weights}

    def load_own_variables(self, store):
        # A model that is loaded without its loss has no use for them.
        if self.built:
            super().load_own_variables(store)
