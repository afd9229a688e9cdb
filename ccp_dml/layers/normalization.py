"""Lipschitz-continuous L2 normalisation."""

from typing import Any

import keras
from keras import ops


def lipschitz_normalize(vectors: Any) -> Any:
    """Scales vectors longer than one to unit length and leaves the others as they are.

    `v` if `‖v‖ <= 1`, else `v / ‖v‖`: the projection onto the unit ball. Unlike `v / ‖v‖`, which
    has no limit at the origin, this is Lipschitz continuous (with constant 1), and its gradient is
    finite everywhere: the identity inside the ball, `(I − v̂ v̂ᵀ) / ‖v‖` outside.

    Args:
        vectors: Tensor `(..., d)`. Norms are computed in at least float32.

    Returns:
        Tensor of the shape and dtype of `vectors`; float32 for integers.
    """
    vectors = ops.convert_to_tensor(vectors)
    dtype = keras.backend.result_type(vectors.dtype, float)
    precise = ops.cast(vectors, keras.backend.result_type(dtype, "float32"))
    squared_norms = ops.sum(ops.square(precise), axis=-1, keepdims=True)
    return ops.cast(precise * ops.rsqrt(ops.maximum(squared_norms, 1.0)), dtype)


@keras.saving.register_keras_serializable("ccp_dml")
class LipschitzNormalization(keras.layers.Layer):
    """Lipschitz-continuous L2 normalisation along the last axis.

    Maps a vector `v` to `v` if `‖v‖ <= 1` and to `v / ‖v‖` otherwise, as "Deep Metric Learning with
    Chance Constraints" (Gürbüz et al., WACV 2024) does with embeddings and proxies before distances
    are taken.

    Example:

    >>> layer = LipschitzNormalization()
    >>> layer(np.array([[3.0, 4.0], [0.3, 0.4]], "float32")).numpy()
    array([[0.6, 0.8],
           [0.3, 0.4]], dtype=float32)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return lipschitz_normalize(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
