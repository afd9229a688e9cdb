import h5py
import numpy as np
import pytest

from ccp_dml.data import letter_groups, load_letters
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.models import load_backbone_weights, small_convnet
from ccp_dml.models.backbones.pretrained import SHIPPED


def map_at_r(backbone, data):
    features = backbone.predict(data.images, verbose=0).mean((1, 2))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return retrieval_metrics(features, data.labels)["map_at_r"]


def test_the_shipped_weights_know_letters_they_have_not_seen():
    backbone = small_convnet((28, 28, 1))
    letters = load_letters(letter_groups()["train"][-40:], samples_per_letter=6, seed=0)
    random = map_at_r(backbone, letters)
    load_backbone_weights(backbone, "glyphs")
    assert map_at_r(backbone, letters) > 2 * random
    assert SHIPPED["glyphs"].stat().st_size < 1_000_000


def test_the_shipped_weights_are_those_of_the_file():
    backbone = small_convnet((28, 28, 1))
    load_backbone_weights(backbone, "glyphs")
    with h5py.File(SHIPPED["glyphs"]) as file:
        for layer, name in zip(backbone.layers[1::2], ("", "_1", "_2"), strict=True):
            kernel = file[f"layers/conv2d{name}/vars/0"][()]
            np.testing.assert_array_equal(layer.kernel.numpy(), kernel)


def test_a_file(tmp_path):
    saved, loaded = small_convnet((8, 8, 1)), small_convnet((12, 12, 1))
    saved.save_weights(tmp_path / "mine.weights.h5")
    load_backbone_weights(loaded, str(tmp_path / "mine.weights.h5"))
    for one, other in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_none_leaves_the_weights_as_they_are():
    backbone = small_convnet((8, 8, 1))
    before = backbone.get_weights()
    load_backbone_weights(backbone, "none")
    for one, other in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_unusable_weights_are_reported_in_one_line(tmp_path):
    backbone = small_convnet((8, 8, 3))
    (tmp_path / "text.weights.h5").write_text("not weights")
    for weights, message in [
        ("imagenet", "for bn_inception and the networks of .*; got the backbone small_convnet"),
        ("vgg", "weights must be none, imagenet, glyphs or the path of a .* file; got 'vgg'"),
        (str(tmp_path / "missing.weights.h5"), "missing.weights.h5'"),
        (str(tmp_path), "weights must be none, imagenet, glyphs or the path"),
        (str(tmp_path / "text.weights.h5"), "do not fit the backbone small_convnet"),
        ("glyphs", "glyphs.weights.h5' do not fit .* the shapes .3, 3, 3, 32., .32,., "),
    ]:
        with pytest.raises(ValueError, match=message) as raised:
            load_backbone_weights(backbone, weights)
        assert "\n" not in str(raised.value)
