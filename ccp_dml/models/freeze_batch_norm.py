"""Freezing of batch normalisation."""

import keras

from ccp_dml.models.keras_internals import flatten_layers


def freeze_batch_norm(model: keras.Model):
    """Freezes every batch normalisation layer of a model, however deep it is nested.

    Such a layer normalises with its moving statistics even in training and does not update them,
    and its scale γ and offset β are not trainable. Fine-tuning with small batches needs this, and
    the CCP paper does it.

    Args:
        model: The model, built.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    >>> freeze_batch_norm(model)
    >>> model.trainable_variables
    []
    """
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
