"""Options of training: learning rate multipliers, a frozen backbone, proxies without rounds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.callbacks import FreezeBackbone, VariationalPhases
from ccp_dml.models import (
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    VariationalModel,
    small_convnet,
)
from tests import naive
from tests.models.test_training import images_and_labels, linear_model


def proxy_model(optimizer, **arguments):
    keras.utils.set_random_seed(0)
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model = ProxyModel(embedding_model, 5, 2, **arguments)
    model.compile(optimizer, loss="contrastive")
    return model


def steps_of(model, **fit):
    """How far each trainable weight moves in a short training, by its path."""
    images, labels = images_and_labels()
    before = [weight.numpy() for weight in model.trainable_variables]
    model.fit(images, labels, batch_size=40, shuffle=False, verbose=0, **fit)
    return {
        weight.path: weight.numpy() - old
        for weight, old in zip(model.trainable_variables, before, strict=True)
    }


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_multipliers_scale_the_steps_of_what_they_name(optimizer):
    make = getattr(keras.optimizers, optimizer)
    plain = steps_of(proxy_model(make(1e-4)))
    scaled = steps_of(proxy_model(make(1e-4), learning_rate_multipliers={"proxies": 100}))
    for (path, step), other in zip(plain.items(), scaled.values(), strict=True):
        factor = 100 if "proxies" in path.split("/") else 1
        assert np.abs(step).max() > 0
        # A step is known up to the rounding of a weight of the size of 1.
        rounding = 2 * np.finfo("float32").eps
        np.testing.assert_allclose(other, factor * step, rtol=0.02, atol=factor * rounding)


def test_compiling_again_does_not_multiply_again():
    optimizer = keras.optimizers.SGD(1e-3)
    model = proxy_model(optimizer, learning_rate_multipliers={"proxies": 10})
    once = steps_of(model)
    again = proxy_model(keras.optimizers.SGD(1e-3), learning_rate_multipliers={"proxies": 10})
    again.compile(again.optimizer, loss="contrastive")
    for one, other in zip(once.values(), steps_of(again).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_multipliers_under_two_replicas(two_replicas):
    def made():
        return proxy_model(
            keras.optimizers.Adam(1e-3), learning_rate_multipliers={"projection": 0.1}
        )

    alone = steps_of(made())
    with two_replicas.scope():
        model = made()
    for one, other in zip(alone.values(), steps_of(model).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_multipliers_are_saved(tmp_path):
    model = proxy_model(keras.optimizers.SGD(1e-3), learning_rate_multipliers={"proxies": 10})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(steps_of(model).values(), steps_of(loaded).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_multipliers_of_no_weight_are_named():
    with pytest.raises(ValueError, match=r"multiplier 'proxy' matches no weight; .*proxies"):
        proxy_model("adam", learning_rate_multipliers={"proxy": 10})
    with pytest.raises(ValueError, match=r"multipliers\['proxies'\] must be above 0; got 0"):
        proxy_model("adam", learning_rate_multipliers={"proxies": 0})


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


def test_the_first_steps_of_a_released_backbone_are_not_larger():
    rate = 1e-4
    model = proxy_model(keras.optimizers.Adam(rate))
    images, labels = images_and_labels()
    kernel = model.embedding_model.backbone.trainable_variables[0]
    values = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: values.append(kernel.numpy())
    )
    model.fit(
        images,
        labels,
        batch_size=len(images),
        epochs=110,
        verbose=0,
        callbacks=[FreezeBackbone(epochs=100), look],
    )
    steps = np.abs(np.diff(values, axis=0))
    assert (steps[:99] == 0).all()
    # Adam that only saw gradients of 0 until then would take steps of 1.6 times the rate.
    assert 0.1 * rate < steps[99:].mean() < 1.1 * rate


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
    with pytest.raises(ValueError, match="epochs must be at least 0; got -1"):
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


@pytest.mark.parametrize("as_dataset", [False, True])
def test_labels_that_are_no_numbers_of_classes_are_named(as_dataset):
    images, labels = images_and_labels()
    for wrong in (np.eye(5)[labels], np.array(list("abcde"))[labels]):
        model = proxy_model("adam")
        data = (images, wrong)
        if as_dataset:
            data = (tf.data.Dataset.from_tensor_slices(data).batch(10),)
        elif wrong.dtype.kind == "U":
            continue  # Keras refuses such arrays itself.
        with pytest.raises(ValueError, match="labels must be the numbers of the classes"):
            model.fit(*data, verbose=0)


@pytest.mark.parametrize("shift", [-1, 1])
def test_labels_out_of_range_are_named(shift):
    images, labels = images_and_labels()
    with pytest.raises(tf.errors.InvalidArgumentError, match="training labels must be 0…4"):
        proxy_model("adam").fit(images, labels + shift, verbose=0)


def test_a_proxy_model_trains_the_weighted_losses(generator):
    kernel = generator.standard_normal((4, 3)).astype("float32")
    model = ProxyModel(linear_model(kernel), 3, 2, proxy_loss_weight=0.5, batch_loss_weight=2.0)
    model.compile(keras.optimizers.SGD(0.0), loss="triplet")
    inputs, labels = generator.standard_normal((9, 4)).astype("float32"), np.arange(9) % 3
    history = model.fit(inputs, labels, batch_size=9, verbose=0).history
    embeddings = inputs.astype("float64") @ kernel
    proxies = model.proxies.vectors.numpy().astype("float64")
    against = naive.loss("triplet", labels, embeddings, proxies, model.proxies.labels)
    among = naive.loss("triplet", labels, embeddings)
    assert history["proxy_loss"][0] == pytest.approx(against, rel=1e-4)
    assert history["loss"][0] == pytest.approx(0.5 * against + 2 * among, rel=1e-4)
