"""A training whose weights after every epoch are given."""

import keras
import numpy as np


def make_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    model.compile("sgd", loss="mse")
    return model


class SetWeights(keras.callbacks.Callback):
    """Sets the weights of the network at the end of each epoch."""

    def __init__(self, kernels):
        super().__init__()
        self.kernels = kernels

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([self.kernels[epoch]])


def fit(model, callbacks, epochs):
    zeros = np.zeros((4, 3), "float32")
    return model.fit(zeros, zeros, epochs=epochs, verbose=0, callbacks=callbacks)
