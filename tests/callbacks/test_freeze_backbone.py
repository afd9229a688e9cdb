import keras
import numpy as np
import pytest

from ccp_dml.callbacks import FreezeBackbone, VariationalPhases
from ccp_dml.models import EmbeddingModel, MetricLearningModel, VariationalModel
from tests.models.small_models import images_and_labels, linear_model, proxy_model, steps_of

pytestmark = pytest.mark.both_backends(slow=True)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_backbone_is_held_and_then_moves(jit_compile):
    model = proxy_model(keras.optimizers.Adam(1e-3), weight_decay=0.1)
    model.compile(model.optimizer, loss="contrastive", jit_compile=jit_compile)
    backbone = model.embedding_model.backbone
    initial = backbone.get_weights()
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(backbone.get_weights())
    )
    moved = steps_of(model, epochs=3, callbacks=[FreezeBackbone(epochs=2), look])
    for epoch in range(2):
        for weight, old in zip(seen[epoch], initial, strict=True):
            np.testing.assert_array_equal(weight, old)
    assert any((weight != old).any() for weight, old in zip(seen[2], initial, strict=True))
    assert all(np.abs(step).max() > 0 for step in moved.values())


class _RecordingAdam(keras.optimizers.Adam):
    """Records the gradients of weights that have a given shape."""

    def __init__(self, learning_rate, shape):
        super().__init__(learning_rate)
        self.shape, self.gradients = shape, []

    def update_step(self, gradient, variable, learning_rate):
        if gradient.shape == self.shape:
            self.gradients.append(np.array(gradient, "float64"))
        super().update_step(gradient, variable, learning_rate)


def adam_steps(gradients, rate):
    """What Adam (Kingma and Ba, ICLR 2015, with the ε̂ of the end of section 2) adds to a weight."""
    mean, square, steps = 0.0, 0.0, []
    for number, gradient in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        corrected = rate * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        steps.append(-corrected * mean / (np.sqrt(square) + 1e-7))
    return np.array(steps)


def test_the_first_steps_of_a_released_backbone_are_those_of_all_gradients():
    rate, frozen, epochs = 1e-2, 6, 8
    optimizer = _RecordingAdam(rate, shape=(3, 3, 1, 4))
    model = proxy_model(optimizer)
    model.compile(optimizer, loss="contrastive", run_eagerly=True)
    kernel = model.embedding_model.backbone.trainable_variables[0]
    values = [kernel.numpy()]
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: values.append(kernel.numpy())
    )
    images, labels = images_and_labels()
    callbacks = [FreezeBackbone(epochs=frozen), look]
    model.fit(images, labels, batch_size=40, epochs=epochs, verbose=0, callbacks=callbacks)
    steps = np.diff(values, axis=0)
    assert (steps[:frozen] == 0).all()
    expected = adam_steps(optimizer.gradients, rate)[frozen:]
    np.testing.assert_allclose(steps[frozen:], expected, atol=1e-3 * rate)
    # Adam would take other steps if it had seen gradients of 0 until then.
    unseen = adam_steps([*np.zeros((frozen, 3, 3, 1, 4)), *optimizer.gradients[frozen:]], rate)
    assert np.abs(unseen[frozen:] - expected).max() > 0.1 * rate


def test_a_trained_backbone_is_held_too():
    model = proxy_model(keras.optimizers.Adam(1e-3))
    backbone = [weight.path for weight in model.embedding_model.backbone.trainable_variables]
    assert all(np.abs(steps_of(model, epochs=2)[path]).max() > 0 for path in backbone)
    frozen = steps_of(model, epochs=1, callbacks=[FreezeBackbone(epochs=1)])
    assert all((frozen[path] == 0).all() for path in backbone)


def test_the_backbone_is_held_under_two_replicas(two_replicas):
    def made():
        return proxy_model(
            keras.optimizers.Adam(1e-3), learning_rate_multipliers={"projection": 0.1}
        )

    alone = steps_of(made(), epochs=2, callbacks=[FreezeBackbone(epochs=1)])
    with two_replicas.scope():
        model = made()
    together = steps_of(model, epochs=2, callbacks=[FreezeBackbone(epochs=1)])
    for one, other in zip(alone.values(), together.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    frozen = steps_of(model, epochs=1, callbacks=[FreezeBackbone(epochs=1)])
    backbone = [weight.path for weight in model.embedding_model.backbone.trainable_variables]
    assert all((frozen[path] == 0).all() for path in backbone)


def test_only_models_with_a_backbone_freeze_it(generator):
    model = MetricLearningModel(linear_model(generator.standard_normal((4, 3)).astype("float32")))
    model.compile("adam", loss="contrastive")
    with pytest.raises(ValueError, match="has a backbone"):
        model.fit(np.zeros((4, 4)), np.arange(4), verbose=0, callbacks=[FreezeBackbone(1)])
    with pytest.raises(ValueError, match="epochs must be a whole number of at least 0; got -1"):
        FreezeBackbone(-1)


class _Backbone(keras.Model):
    """A subclassed network, which does not know the shape of its inputs."""

    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 3)

    def call(self, inputs, training=None):
        return self.convolution(inputs)


@pytest.mark.parametrize("callback", [FreezeBackbone(1), VariationalPhases(1)])
def test_callbacks_want_a_model_with_weights(callback):
    model = VariationalModel(EmbeddingModel(_Backbone(), embedding_size=6))
    model.compile("adam", loss="contrastive")
    with pytest.raises(ValueError, match="the model has no weights yet"):
        model.fit(*images_and_labels(), verbose=0, callbacks=[callback])


def test_the_backbone_is_not_held_after_training():
    model = proxy_model(keras.optimizers.Adam(1e-3))
    frozen = steps_of(model, epochs=1, callbacks=[FreezeBackbone(epochs=5)])
    moved = steps_of(model, epochs=1)
    backbone = {weight.path for weight in model.embedding_model.backbone.trainable_variables}
    assert all((frozen[path] == 0).all() for path in backbone)
    assert all(np.abs(moved[path]).max() > 0 for path in backbone)


class _Interruption(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_what_an_interrupted_training_has_set_is_unset():
    model = proxy_model(keras.optimizers.Adam(1e-3))
    model.warming_up.assign(True)
    with pytest.raises(KeyboardInterrupt):
        steps_of(model, callbacks=[FreezeBackbone(epochs=5), _Interruption()])
    moved = steps_of(model, epochs=1)
    assert all(np.abs(step).max() > 0 for step in moved.values())
