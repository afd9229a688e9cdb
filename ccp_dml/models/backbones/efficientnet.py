"""What the weights of Keras's EfficientNet need beside themselves."""

import keras
import numpy as np

NAMES = tuple(f"EfficientNetB{number}" for number in range(8))
# Of red, green and blue in 0…1.
_DEVIATION = np.array([0.229, 0.224, 0.225], "float32")


def correct_normalization(backbone: keras.Model):
    """Makes an EfficientNet B0–B7 whose weights are from ImageNet normalise as it was trained.

    Where these weights have the variance of the values they hold the standard deviation
    (tensorflow issue 49930). A network that Keras makes with `weights="imagenet"` makes up for it
    by another layer, which has no weights, so that it is neither in a file of weights nor in the
    network that the file is read into. Multiplied by the standard deviation again, the variance is
    what it should be. Other weights are left as they are.

    Args:
        backbone: One of `NAMES`, made without `weights="imagenet"`, after its weights are loaded.
    """
    (layer,) = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Normalization)]
    variance = keras.ops.convert_to_numpy(layer.adapt_variance.value)
    if np.allclose(variance.ravel(), _DEVIATION, rtol=1e-3, atol=0):
        layer.adapt_variance.assign(variance * _DEVIATION.reshape(variance.shape))
        layer.finalize_state()
