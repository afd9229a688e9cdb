"""What callbacks see and change between two steps of an epoch with JAX, and skipped steps.

`tests/models/test_keras_internals.py` runs it in a process of its own, with `KERAS_BACKEND=jax`.
"""

import keras
import numpy as np

from ccp_dml.models.keras_internals import sync_variables, wrap_train_function

STEPS = 4


def make_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    return model


def fit(callback):
    model = make_model()
    rows = np.ones((STEPS, 1), "float32")
    model.fit(rows, 3 * rows, batch_size=1, shuffle=False, verbose=0, callbacks=[callback])
    return [weight.numpy() for weight in model.weights]


class ReadAndDouble(keras.callbacks.Callback):
    """Reads the weights after every step, and doubles the first after the second step."""

    def __init__(self):
        super().__init__()
        self.kernels = []

    def on_train_batch_end(self, batch, logs=None):
        sync_variables(self.model)
        kernel = self.model.weights[0]
        self.kernels.append(kernel.numpy().item())
        if batch == 1:
            kernel.assign(2 * kernel)


class Skip(keras.callbacks.Callback):
    """Takes only the last two steps."""

    def on_epoch_begin(self, epoch, logs=None):
        self.steps = []

        def take_step(train):
            self.steps.append(len(self.steps))
            return train() if len(self.steps) > STEPS - 2 else {"loss": 0.0}

        self.before = wrap_train_function(self.model, take_step)

    def on_epoch_end(self, epoch, logs=None):
        self.model.train_function = self.before


def expected_kernels(steps, doubled_after=None):
    """Gradient descent of (w + b - 3)^2 by hand: the kernel after each step."""
    kernel, bias, kernels = 1.0, 0.0, []
    for step in range(steps):
        gradient = 2 * (kernel + bias - 3)
        kernel, bias = kernel - 0.1 * gradient, bias - 0.1 * gradient
        kernels.append(kernel)
        if step == doubled_after:
            kernel *= 2
    return kernels


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    reading = ReadAndDouble()
    kernel, _ = fit(reading)
    np.testing.assert_allclose(reading.kernels, expected_kernels(STEPS, doubled_after=1), rtol=1e-6)
    assert kernel.item() == reading.kernels[-1]
    skipping = Skip()
    kernel, _ = fit(skipping)
    assert len(skipping.steps) == STEPS
    np.testing.assert_allclose(kernel.item(), expected_kernels(2)[-1], rtol=1e-6)
