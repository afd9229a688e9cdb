"""Pooling heads: from the features of a backbone to a feature vector."""

import keras
from keras import ops

from ccp_dml.checks import check_one_of
from ccp_dml.layers.feature_shapes import check_positions, position_axes
from ccp_dml.layers.generalized_mean_pooling import GeneralizedMeanPooling
from ccp_dml.layers.generalized_sum_pooling import GeneralizedSumPooling

_WITHOUT_WEIGHTS = ("average", "max", "sum", "token", "none")
_WITH_WEIGHTS = {"gem": GeneralizedMeanPooling, "gsp": GeneralizedSumPooling}
POOLINGS = ("average", "max", "sum", "gem", "gsp", "token", "none")
"""The names of the pooling layers."""


@keras.saving.register_keras_serializable("ccp_dml")
class GlobalPooling(keras.layers.Layer):
    """Pools features over their positions, without weights.

    Args:
        pooling: `"average"` (default); `"max"`; `"sum"`: the sum of the average and the maximum,
            which the conventional protocol of the CCP paper uses; `"token"`: the first token of a
            sequence, which is the class token of vision transformers; or `"none"`: no pooling, for
            features that are vectors already.

    Call arguments:
        inputs: A feature map `(batch, height, width, channels)` or a sequence of tokens `(batch,
            tokens, channels)`, all of whose tokens count, class and register tokens included; for
            `"token"`, a sequence; for `"none"`, vectors `(batch, channels)`.

    Returns:
        Features `(batch, channels)`.

    Raises:
        ValueError: If `pooling` is not one of the five, or cannot be applied to features of this
            shape.

    Example:

    >>> features = np.arange(8.0, dtype="float32").reshape(1, 2, 2, 2)
    >>> GlobalPooling("sum")(features).numpy()
    array([[ 9., 11.]], dtype=float32)
    """

    def __init__(self, pooling: str = "average", **kwargs):
        super().__init__(**kwargs)
        check_one_of("pooling", pooling, _WITHOUT_WEIGHTS)
        self.pooling = pooling

    def build(self, input_shape):
        check_positions(self.pooling, input_shape)

    def call(self, inputs):
        if self.pooling == "none":
            return inputs
        if self.pooling == "token":
            return inputs[:, 0]
        axes = position_axes(inputs)
        if self.pooling == "average":
            return ops.mean(inputs, axis=axes)
        if self.pooling == "max":
            return ops.max(inputs, axis=axes)
        return ops.mean(inputs, axis=axes) + ops.max(inputs, axis=axes)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "pooling": self.pooling}


def get_pooling(pooling: str, **kwargs) -> keras.layers.Layer:
    """Returns a pooling head by its name.

    Args:
        pooling: One of `POOLINGS`: those of `GlobalPooling`, `"gem"` (`GeneralizedMeanPooling`) or
            `"gsp"` (`GeneralizedSumPooling`).
        **kwargs: Arguments of the layer. Its dtype defaults to that of `keras.config`, but a layer
            with weights computes in their dtype, not in half precision.

    Returns:
        A layer from the features of the backbone to feature vectors `(batch, channels)`.

    Raises:
        ValueError: If the name is unknown.

    Example:

    >>> get_pooling("gem")(np.ones((1, 2, 2, 3), "float32")).shape
    TensorShape([1, 3])
    """
    check_one_of("pooling", pooling, POOLINGS)
    if pooling in _WITH_WEIGHTS:
        kwargs.setdefault("dtype", keras.config.dtype_policy().variable_dtype)
        return _WITH_WEIGHTS[pooling](**kwargs)
    return GlobalPooling(pooling, **kwargs)
