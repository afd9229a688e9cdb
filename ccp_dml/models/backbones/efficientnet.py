"""The correction that ImageNet weights of Keras's EfficientNet need."""

import keras
import numpy as np

NAMES = tuple(f"EfficientNetB{number}" for number in range(8))
# For red, green and blue in 0…1.
_DEVIATION = np.array([0.229, 0.224, 0.225], "float32")


def correct_normalization(backbone: keras.Model):
    """Makes an EfficientNet B0–B7 with ImageNet weights normalise values as in its training.

    In place of the variance of the values these weights hold the standard deviation (tensorflow
    issue 49930). A network that Keras builds with `weights="imagenet"` compensates for this with
    another layer, which has no weights and is therefore missing both in a file of weights and in
    the network that the file is loaded into. Multiplying by the standard deviation once more gives
    the correct variance. Other weights are left as they are.

    Args:
        backbone: One of `NAMES`, built without `weights="imagenet"`, with its weights loaded.
    """
    (layer,) = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Normalization)]
    variance = keras.ops.convert_to_numpy(layer.adapt_variance.value)
    if np.allclose(variance.ravel(), _DEVIATION, rtol=1e-3, atol=0):
        layer.adapt_variance.assign(variance * _DEVIATION.reshape(variance.shape))
        layer.finalize_state()
