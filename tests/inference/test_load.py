import importlib.util
import os
import zipfile

import keras
import numpy as np
import pytest

from ccp_dml.data import load as load_data
from ccp_dml.inference import ImageEmbedder, load
from ccp_dml.models import EmbeddingModel, MetricLearningModel, small_convnet
from tests.data.pictures import encoded, gradient


def network_of():
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.UnitNormalization()(outputs), name="embedding")


@pytest.fixture
def saved(tmp_path):
    embedder = ImageEmbedder(network_of(), "bgr", resize_size=10)
    embedder.save(tmp_path / "model.keras")
    return embedder, tmp_path / "model.keras"


def test_a_network_with_its_preprocessing(saved):
    embedder, path = saved
    contents = [encoded(gradient(30, 21)), encoded(gradient(8, 90), "PNG")]
    for loaded in (load(path), load(str(path), scaling="bgr", resize_size=10)):
        np.testing.assert_allclose(loaded.embed(contents), embedder.embed(contents), atol=1e-6)
        assert loaded.preprocessing == embedder.preprocessing


def test_what_contradicts_the_network_is_an_error(saved):
    _, path = saved
    with pytest.raises(ValueError, match=r"scaling must be 'bgr', as .*model.keras; got 'unit'"):
        load(path, scaling="unit")
    with pytest.raises(ValueError, match=r"resize_size must be 10, as .*model.keras; got 12"):
        load(path, resize_size=12)
    with pytest.raises(ValueError, match=r"background must be 'white', as .*; got 'black'"):
        load(path, background="black")
    assert load(path, background="#ffffff").preprocessing.background == "white"


@pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is not None, reason="KerasHub is installed"
)
def test_networks_of_keras_hub_without_it(saved, tmp_path):
    _, path = saved
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "hub.keras", "w") as copy:
        for member in archive.infolist():
            contents = archive.read(member)
            if member.filename == "config.json":
                known = b'"module": "keras.layers", "class_name": "Dense"'
                assert known in contents
                other = b'"module": "keras_hub.src.models.vit.vit_layers", "class_name": "ViTMLP"'
                contents = contents.replace(known, other)
            copy.writestr(member, contents)
    with pytest.raises(ValueError, match=r'hub.keras requires KerasHub: pip .*"ccp_dml\[hub\]"'):
        load(tmp_path / "hub.keras")


def test_networks_without_preprocessing_need_it(tmp_path, caplog):
    network = network_of()
    network.save(tmp_path / "old.keras")
    with pytest.raises(ValueError, match=r"old.keras was saved without its preprocessing: pass sc"):
        load(tmp_path / "old.keras")
    with caplog.at_level("WARNING", logger="absl"):
        embedder = load(tmp_path / "old.keras", scaling="symmetric", resize_size=12)
    (message,) = caplog.messages
    assert "old.keras was saved without its preprocessing" in message
    assert "scaling symmetric and resize_size 12" in message
    contents = [encoded(gradient(30, 21))]
    expected = ImageEmbedder(network, "symmetric", 12).embed(contents)
    np.testing.assert_allclose(embedder.embed(contents), expected, atol=1e-6)


def test_a_model_that_was_saved_while_it_trained(tmp_path):
    model = MetricLearningModel(EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4))
    model.compile("adam", loss="contrastive")
    model.save(tmp_path / "model.keras")
    embedder = load(tmp_path / "model.keras", scaling="unit", resize_size=8)
    images = load_data("digits").test.images[:50]
    pixels = np.round(images * 255).astype("uint8")
    expected = model.predict(pixels.astype("float32") / 255, verbose=0)
    np.testing.assert_allclose(embedder.embed(pixels), expected, atol=1e-6)


def test_a_file_that_is_not_a_network_is_reported_in_one_line(tmp_path, saved):
    _, path = saved
    with pytest.raises(FileNotFoundError, match=r"the network .*none.keras does not exist"):
        load(tmp_path / "none.keras")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "notes.keras").write_text("notes")
    (tmp_path / "empty.keras").write_text("")
    (tmp_path / "image.jpg").write_bytes(encoded(gradient(8, 8)))
    contents = path.read_bytes()
    (tmp_path / "half.keras").write_bytes(contents[: len(contents) // 2])
    middle = len(contents) // 2
    inverted = bytes(255 - byte for byte in contents[middle : middle + 64])
    damaged = contents[:middle] + inverted + contents[middle + 64 :]
    (tmp_path / "damaged.keras").write_bytes(damaged)
    os.mkfifo(tmp_path / "pipe.keras")
    nested = "[" * 100_000 + "]" * 100_000
    configs = {"list": "[]", "nested": nested, "empty_config": "{}", "bomb": " " * (2**26 + 1)}
    for name, config in configs.items():
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", config)
            archive.writestr("metadata.json", "{}")
    names = ["folder", "notes", "empty", "half", "damaged", "list", "nested", "empty_config"]
    names += ["pipe", "bomb"]
    for name in [*(f"{each}.keras" for each in names), "image.jpg"]:
        with pytest.raises(ValueError, match=f"{name} is not a network saved by Keras") as raised:
            load(tmp_path / name)
        assert "\n" not in str(raised.value)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "table.keras")
    with pytest.raises(ValueError, match=r"table.keras: network must take square images"):
        load(tmp_path / "table.keras", scaling="unit")
