"""The two phases of deep variational metric learning."""

import keras

from ccp_dml.checks import check_whole_number
from ccp_dml.models import VariationalModel


class VariationalPhases(keras.callbacks.Callback):
    """Starts the second phase of a `VariationalModel`, in which L₂ trains the network too.

    Args:
        first_phase_epochs: Number of epochs of the first phase, at least 0.

    Raises:
        ValueError: If the number is negative; when training begins, if the model is not a
            `VariationalModel`, or has no weights yet.

    Example:

    ```python
    model.fit(batches, epochs=100, callbacks=[VariationalPhases(first_phase_epochs=20)])
    ```
    """

    def __init__(self, first_phase_epochs: int):
        super().__init__()
        check_whole_number("first_phase_epochs", first_phase_epochs, 0)
        self.first_phase_epochs = first_phase_epochs

    def on_train_begin(self, logs=None):
        if not isinstance(self.model, VariationalModel):
            raise ValueError(
                f"VariationalPhases needs a ccp_dml.models.VariationalModel; got "
                f"{type(self.model).__name__}"
            )
        if not self.model.built:
            raise ValueError("the model has no weights yet: call model.build(input_shape) first")

    def on_epoch_begin(self, epoch, logs=None):
        self.model.second_phase.assign(epoch >= self.first_phase_epochs)
