"""Pooling heads: from a feature map to a feature vector."""

import keras
from keras import ops

from ccp_dml.checks import check_one_of

POOLINGS = ("average", "max", "sum")


@keras.saving.register_keras_serializable("ccp_dml")
class GlobalPooling(keras.layers.Layer):
    """Pools a feature map over its spatial positions.

    Args:
        pooling: `"average"` (default), `"max"`, or `"sum"`: the sum of the average and the maximum,
            which the conventional protocol of the CCP paper uses.

    Call arguments:
        inputs: Feature map `(batch, height, width, channels)`.

    Returns:
        Features `(batch, channels)`.

    Raises:
        ValueError: If `pooling` is not one of the three.

    Example:

    >>> features = np.arange(8.0, dtype="float32").reshape(1, 2, 2, 2)
    >>> GlobalPooling("sum")(features).numpy()
    array([[ 9., 11.]], dtype=float32)
    """

    def __init__(self, pooling: str = "average", **kwargs):
        super().__init__(**kwargs)
        check_one_of("pooling", pooling, POOLINGS)
        self.pooling = pooling

    def call(self, inputs):
        if self.pooling == "average":
            return ops.mean(inputs, axis=(1, 2))
        if self.pooling == "max":
            return ops.max(inputs, axis=(1, 2))
        return ops.mean(inputs, axis=(1, 2)) + ops.max(inputs, axis=(1, 2))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "pooling": self.pooling}
