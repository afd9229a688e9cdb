"""A network of one matrix, which a test sets at the end of each epoch."""

import keras
import numpy as np


def make_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.compile("sgd", loss="mse")
    return model


class SetWeights(keras.callbacks.Callback):
    """Puts the next matrix into the network at the end of each epoch."""

    def __init__(self, kernels):
        super().__init__()
        self.kernels = kernels

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([self.kernels[epoch]])


def fit(model, callbacks, epochs, initial_epoch=0):
    zeros = np.zeros((4, 3), "float32")
    return model.fit(
        zeros,
        zeros,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        callbacks=callbacks,
    )
