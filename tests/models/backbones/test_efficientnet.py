"""Keras's `imagenet` weights are read as Keras reads them, whatever file they are in."""

import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet as keras_efficientnet

from ccp_dml.models import get_backbone

SHAPE = (64, 64, 3)
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """A file like the one that Keras downloads, in its older format, with random weights.

    Its normalisation layer holds the standard deviation in place of the variance.
    """
    keras.utils.set_random_seed(1)
    network = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=SHAPE)
    (normalization,) = [
        layer for layer in network.layers if isinstance(layer, keras.layers.Normalization)
    ]
    normalization.set_weights([np.array(MEAN), np.array(DEVIATION), np.array(0)])
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # With the small initial values, the final features would all be alike.
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([3 * gamma, beta + 0.1, mean, variance])
    path = tmp_path_factory.mktemp("weights") / "efficientnetb0_notop.h5"
    network.save(path)
    return path


@pytest.fixture
def imagenet(downloaded, monkeypatch):
    """What Keras makes of that file for `weights="imagenet"`, without a download."""
    monkeypatch.setattr(keras_efficientnet.file_utils, "get_file", lambda *_, **__: str(downloaded))
    return keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", input_shape=SHAPE
    )


def features(network, generator):
    images = generator.uniform(0, 255, (2, *SHAPE)).astype("float32")
    # Not `predict`, which would first trace each of the networks.
    return network(images, training=False).numpy()


def test_imagenet_from_a_file(imagenet, downloaded, tmp_path):
    expected = features(imagenet, np.random.default_rng(0))
    imagenet.save_weights(tmp_path / "made.weights.h5")
    for path in (tmp_path / "made.weights.h5", downloaded):
        backbone = get_backbone("EfficientNetB0", SHAPE, str(path))
        found = features(backbone, np.random.default_rng(0))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.ptp(expected))
    # Weights that the backbone itself has saved are right already, and stay as they are.
    backbone.save_weights(tmp_path / "again.weights.h5")
    again = get_backbone("EfficientNetB0", SHAPE, str(tmp_path / "again.weights.h5"))
    np.testing.assert_array_equal(features(again, np.random.default_rng(0)), found)
    backbone.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(features(again, np.random.default_rng(0)), found)


def test_other_weights_are_left_alone(tmp_path):
    saved = get_backbone("EfficientNetB0", SHAPE)
    saved.save_weights(tmp_path / "mine.weights.h5")
    loaded = get_backbone("EfficientNetB0", SHAPE, str(tmp_path / "mine.weights.h5"))
    for one, other in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
