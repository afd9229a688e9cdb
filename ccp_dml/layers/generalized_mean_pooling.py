"""Generalised mean pooling (GeM)."""

import keras
from keras import ops

from ccp_dml.checks import check_at_least
from ccp_dml.layers.feature_shapes import check_positions, position_axes

_SMALLEST = 1e-6
_MIN_EXPONENT = 1.0


@keras.saving.register_keras_serializable("ccp_dml")
class GeneralizedMeanPooling(keras.layers.Layer):
    """The generalised mean of features over their positions, with a trainable exponent.

    `(mean of xᵖ)^(1/p)`: the average for p = 1, and close to the maximum for a large p
    ("Fine-tuning CNN Image Retrieval with No Human Annotation", Radenović, Tolias and Chum, TPAMI
    2019; one exponent for all channels). It is computed with logarithms, so that powers neither
    overflow nor vanish.

    Args:
        exponent: Initial value of the exponent p, at least 1. If training moves it below 1, it
            counts as 1. Defaults to 3, as in the paper.

    Call arguments:
        inputs: A feature map `(batch, height, width, channels)` or a sequence of tokens `(batch,
            tokens, channels)`. Values below 1e-6 count as 1e-6: it is meant for features after a
            ReLU. Their gradient is 0.

    Returns:
        Features `(batch, channels)`.

    Raises:
        ValueError: If `exponent` is below 1, or the inputs have no positions to pool over.

    Example:

    >>> features = np.array([[[3.0], [4.0]]], "float32")
    >>> GeneralizedMeanPooling(2.0)(features).numpy()
    array([[3.535534]], dtype=float32)
    """

    def __init__(self, exponent: float = 3.0, **kwargs):
        super().__init__(**kwargs)
        check_at_least("exponent", exponent, _MIN_EXPONENT)
        self.exponent = exponent

    def build(self, input_shape):
        check_positions("gem", input_shape)
        self.power = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self.exponent), name="exponent"
        )

    def call(self, inputs):
        power = ops.maximum(self.power, _MIN_EXPONENT)
        logarithms = ops.log(ops.maximum(inputs, _SMALLEST))
        axes = position_axes(inputs)
        largest = ops.max(logarithms, axis=axes, keepdims=True)
        powers = ops.exp(power * (logarithms - largest))
        relative = ops.log(ops.mean(powers, axis=axes)) / power
        return ops.exp(relative + ops.squeeze(largest, axis=axes))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "exponent": self.exponent}
