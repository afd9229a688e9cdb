import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.backend.tensorflow import fusion
from ccp_dml.models import ProxyModel
from tests import naive
from tests.cases import slow_except
from tests.models.small_models import (
    convolutional_model,
    images_and_labels,
    linear_model,
    proxy_model,
)

pytestmark = pytest.mark.both_backends(slow=True)


def test_warming_up_trains_as_the_plain_loss_does():
    images, labels = images_and_labels()
    plain, warming = convolutional_model("plain"), convolutional_model()
    for model in (plain, warming):
        model.weight_decay, model.clip_norm = 0.0, None
    warming.embedding_model.set_weights(plain.embedding_model.get_weights())
    warming.warming_up.assign(True)
    proxies = warming.proxies.vectors.numpy()
    for model in (plain, warming):
        model.fit(images, labels, batch_size=20, shuffle=False, epochs=3, verbose=0)
    for ours, theirs in zip(
        warming.embedding_model.get_weights(), plain.embedding_model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_array_equal(warming.proxies.vectors, proxies)


def test_labels_far_out_of_range_are_named():
    images, labels = images_and_labels(10)
    with pytest.raises(ValueError, match="training labels must be 0…4"):
        convolutional_model().fit(images, labels + 50, verbose=0)


@pytest.mark.parametrize("shift", [-1, 1])
def test_labels_out_of_range_are_named(shift):
    images, labels = images_and_labels()
    with pytest.raises(ValueError, match="training labels must be 0…4"):
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


@pytest.mark.parametrize(
    ("loss", "jit_compile", "replicas"),
    slow_except(
        [("contrastive", False, 1), ("contrastive", True, 1), ("margin", False, 2)],
        [
            ("contrastive", False, 1),
            ("contrastive", True, 1),
            ("contrastive", False, 2),
            ("margin", False, 1),
            ("margin", False, 2),
        ],
    ),
)
def test_steps_against_many_proxies_are_those_of_the_plain_computation(
    loss, jit_compile, replicas, two_replicas, monkeypatch, generator
):
    inputs, labels = generator.standard_normal((24, 6)).astype("float32"), np.arange(24) % 4
    proxies = generator.standard_normal((8192, 128)).astype("float32") / 10
    kernel = generator.standard_normal((6, 128)).astype("float32") / 20

    def train():
        model = ProxyModel(linear_model(kernel), 4096, 2, batch_loss_weight=0.1, weight_decay=1e-3)
        model.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=jit_compile)
        model.proxies.vectors.assign(proxies)
        history = model.fit(inputs, labels, batch_size=8, shuffle=False, epochs=2, verbose=0)
        return history.history["loss"], model.get_weights()

    with monkeypatch.context() as patch:
        patch.setattr(fusion, "is_large", lambda shape: False)
        expected_losses, expected = train()
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        found_losses, found = train()
    np.testing.assert_allclose(found_losses, expected_losses, rtol=1e-5)
    for our, their in zip(found, expected, strict=True):
        np.testing.assert_allclose(our, their, atol=1e-6)
    assert np.abs(expected[1] - proxies).max() > 1e-4
