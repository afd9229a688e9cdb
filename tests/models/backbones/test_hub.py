"""KerasHub presets, read from folders that KerasHub itself has written."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

from ccp_dml.data.value_scaling import rescale
from ccp_dml.models import EmbeddingModel, get_backbone, value_scaling

if importlib.util.find_spec("keras_hub") is None:
    pytest.skip("KerasHub is not installed", allow_module_level=True)

import keras_hub

from tests.models.backbones.hub_presets import PRESETS, write_preset

RANKS = {"vit": 3, "dinov2": 3, "siglip": 2, "resnet": 4, "efficientnet": 4}
SCALINGS = {"vit": "symmetric", "siglip": "symmetric"}


def images_of(size):
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("float32")


def keras_hub_features(network, prepare, images):
    """The features that KerasHub itself computes."""
    network = getattr(network, "vision_encoder", network)
    inputs = prepare(images)
    named = {"images": inputs} if isinstance(network.input, dict) else inputs
    return np.asarray(network.predict(named, verbose=0))


@pytest.mark.parametrize("kind", PRESETS)
def test_features_are_those_of_keras_hub(kind, tmp_path):
    size, network, prepare = write_preset(kind, tmp_path / "tiny")
    name = f"hub:{tmp_path / 'tiny'}"
    assert value_scaling(name) == SCALINGS.get(kind, "torch")
    backbone = get_backbone(name, (size, size, 3))
    images = images_of(size)
    found = backbone.predict(rescale(images, value_scaling(name)).numpy(), verbose=0)
    expected = keras_hub_features(network, prepare, images)
    assert expected.ndim == RANKS[kind]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", PRESETS)
def test_embedding_models_are_saved(kind, tmp_path):
    size, *_ = write_preset(kind, tmp_path / "tiny")
    backbone = get_backbone(f"hub:{tmp_path / 'tiny'}", (size, size, 3))
    pooling = {2: "none", 3: "token", 4: "gem"}[RANKS[kind]]
    model = EmbeddingModel(backbone, 4, pooling, freeze_batch_norm=True)
    model.save(tmp_path / "model.keras")
    images = images_of(size) / 255
    expected = model.predict(images, verbose=0)
    # The preset is not needed any more.
    for path in (tmp_path / "tiny").iterdir():
        path.unlink()
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy.predict(images, verbose=0), expected)


def test_values_scaled_in_another_way_are_scaled_by_the_network(tmp_path):
    values = {"scale": (0.02, 0.01, 0.03), "offset": (-1.0, 0.5, 0.0)}
    size, network, prepare = write_preset("vit", tmp_path / "tiny", **values)
    name = f"hub:{tmp_path / 'tiny'}"
    assert value_scaling(name) == "raw"
    images = images_of(size)
    found = get_backbone(name, (size, size, 3)).predict(images, verbose=0)
    np.testing.assert_allclose(
        found, keras_hub_features(network, prepare, images), rtol=1e-3, atol=1e-4
    )


def test_sizes_of_images(tmp_path):
    for kind in ("vit", "resnet", "dinov2"):
        write_preset(kind, tmp_path / kind)
    assert get_backbone(f"hub:{tmp_path / 'resnet'}", (40, 48, 3)).input_shape == (None, 40, 48, 3)
    # Positions are interpolated: a class token and 3 x 3 patches of 14 pixels.
    assert get_backbone(f"hub:{tmp_path / 'dinov2'}", (42, 42, 3)).output_shape == (None, 10, 8)
    for shape in [(48, 48, 3), (227, 227, 3), (32, 32, 1)]:
        with pytest.raises(ValueError, match=r"of shape \(32, 32, 3\); got .*image_size 32$"):
            get_backbone(f"hub:{tmp_path / 'vit'}", shape)


def test_invalid_presets(tmp_path):
    with pytest.raises(ValueError, match=r"got 'dinov2_bas': did you mean dinov2_base, "):
        get_backbone("hub:dinov2_bas", (28, 28, 3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"cannot be loaded from its folder: .*no config\.json"):
        value_scaling(f"hub:{tmp_path / 'empty'}")
    size, *_ = write_preset("vit", tmp_path / "damaged")
    (tmp_path / "damaged" / "model.weights.h5").write_text("not weights")
    with pytest.raises(ValueError, match=r"damaged cannot be loaded from its folder: ") as raised:
        get_backbone(f"hub:{tmp_path / 'damaged'}", (size, size, 3))
    assert "\n" not in str(raised.value)
    texts = keras_hub.models.BertBackbone(20, 1, 2, 8, 16, max_sequence_length=4)
    texts.save_to_preset(tmp_path / "texts")
    with pytest.raises(ValueError, match="texts is not a network whose only inputs are images"):
        get_backbone(f"hub:{tmp_path / 'texts'}", (28, 28, 3))


def test_a_download_that_fails_names_the_files(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr("kagglehub.model_download", refuse)
    for use in (value_scaling, lambda name: get_backbone(name, (224, 224, 3))):
        with pytest.raises(
            ValueError, match="could not be downloaded: get the files of "
        ) as raised:
            use("hub:vit_base_patch16_224_imagenet")
        message = str(raised.value)
        assert "kaggle.com/models/keras/vit/keras/vit_base_patch16_224_imagenet" in message
        assert "config.json, image_converter.json and the weights" in message
        assert message.endswith("choose the backbone hub:FOLDER (no network)")


def test_home_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_preset("vit", pathlib.Path("~/tiny").expanduser())
    assert value_scaling("hub:~/tiny") == "symmetric"
