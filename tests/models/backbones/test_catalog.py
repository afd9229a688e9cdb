import importlib.util
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from ccp_dml.data import SCALINGS
from ccp_dml.models import get_backbone, value_scaling

# What the documentation of keras.applications says of them.
DOCUMENTED = {
    "bgr": ["ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"],
    "symmetric": ["MobileNet", "MobileNetV2", "InceptionV3", "Xception", "NASNetMobile"],
    "torch": ["DenseNet121", "DenseNet169", "DenseNet201"],
    "raw": ["EfficientNetB0", "EfficientNetV2L", "MobileNetV3Small", "ConvNeXtTiny"],
}


class Subclassed(keras.Model):
    """Does not know its shapes before it is called."""

    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.convolution(inputs)


def own(input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Conv2D(5, 3)])


def unbuilt(_):
    return keras.Sequential([keras.layers.Conv2D(5, 3)])


def subclassed(_):
    return Subclassed()


def flat(input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten()])


def tokens(input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Reshape((-1, 3))])


def video(input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Reshape((2, 2, 8, 6))])


def two_outputs(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, [inputs + 1, inputs + 2])


def build_another_shape(_):
    return own((16, 16, 7))


def failing(input_shape):
    raise ValueError(f"too small:\n{input_shape}")


def no_model(_):
    return "model"


def without_arguments():
    return own((8, 8, 3))


@pytest.mark.parametrize(
    ("name", "scaling"), [(name, scaling) for scaling in DOCUMENTED for name in DOCUMENTED[scaling]]
)
def test_scalings_of_applications(name, scaling):
    assert value_scaling(name) == scaling


def test_scalings_of_other_backbones():
    assert value_scaling("small_convnet") == "unit"
    assert value_scaling("bn_inception") == "bgr"
    assert value_scaling("resnet50") == "bgr"
    assert value_scaling("resnet50_v1_5") == "torch"
    assert value_scaling("vit_b16") == "symmetric"
    assert value_scaling("my.module:network") == "unit"
    assert set(SCALINGS) == {*DOCUMENTED, "unit"}


def test_the_scaling_is_found_for_every_application():
    names = [name for name, value in vars(keras.applications).items() if name[0].isupper()]
    assert len(names) > 30
    assert {value_scaling(name) for name in names} == set(DOCUMENTED)


def test_resnet50_is_keras_own(generator):
    keras.utils.set_random_seed(0)
    backbone = get_backbone("resnet50", (64, 64, 3))
    keras.utils.set_random_seed(0)
    expected = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    assert backbone.output_shape == (None, 2, 2, 2048)
    images = generator.uniform(-128, 128, (1, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(
        backbone(images, training=False), expected(images, training=False)
    )


@pytest.mark.parametrize(
    ("name", "output_shape"),
    [("EfficientNetV2B0", (2, 2, 1280)), ("VGG16", (2, 2, 512)), ("ConvNeXtTiny", (2, 2, 768))],
)
def test_other_applications(name, output_shape):
    assert get_backbone(name, (64, 64, 3)).output_shape[1:] == output_shape


def test_weights_from_a_path(tmp_path):
    saved = get_backbone("MobileNetV2", (32, 32, 3))
    for name in ("mine.weights.h5", "mine.h5"):
        saved.save_weights(tmp_path / "mine.weights.h5")
        if name == "mine.h5":
            saved.save(tmp_path / name)  # Keras's older format, which its own files have.
        loaded = get_backbone("MobileNetV2", (64, 64, 3), str(tmp_path / name))
        for one, other in zip(saved.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"do not fit the backbone .*weights have the shapes"):
        get_backbone("VGG16", (32, 32, 3), str(tmp_path / "mine.weights.h5"))


@pytest.mark.parametrize(("function", "channels"), [("own", 5), ("unbuilt", 5), ("subclassed", 4)])
def test_functions_of_ones_own(function, channels):
    backbone = get_backbone(f"{__name__}:{function}", (8, 9, 3))
    assert backbone.input_shape == (None, 8, 9, 3)
    assert backbone.output_shape == (None, 6, 7, channels)


def test_tokens_and_vectors():
    assert get_backbone(f"{__name__}:tokens", (8, 9, 3)).output_shape == (None, 72, 3)
    assert get_backbone(f"{__name__}:flat", (8, 9, 3)).output_shape == (None, 216)


@pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is not None, reason="KerasHub is installed"
)
def test_presets_without_keras_hub():
    for use in (value_scaling, lambda name: get_backbone(name, (8, 8, 3))):
        with pytest.raises(ValueError, match=r'dinov2 requires KerasHub: pip .*"ccp_dml\[hub\]"'):
            use("hub:dinov2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Resnet50", "small_convnet, bn_inception, .*; got 'Resnet50': did you mean resnet50, "),
        ("eficientnetb0", "hub:preset or module:callable; .* did you mean EfficientNetB0, "),
        ("nothing", r"; got 'nothing'$"),
        ("missing_module:network", "importable: No module named 'missing_module'"),
        (f"{__name__}:missing", "has no attribute 'missing'"),
        (f"{__name__}:", "must be of the form module:callable"),
        (":network", "must be of the form module:callable"),
        (f"{__name__}:DOCUMENTED", "must be callable; got {"),
        (f"{__name__}:no_model", "must return a keras.Model; got 'model'"),
        (f"{__name__}:video", r"a feature map .* or feature vectors .*; got \(None, 2, 2, 8, 6\)"),
        (f"{__name__}:two_outputs", r"feature map .*; got \[\(None, 8, 8, 3\), "),
        (f"{__name__}:build_another_shape", r"does not take images of shape \(8, 8, 3\): "),
        (f"{__name__}:failing", r"of shape \(8, 8, 3\): too small: \(8, 8, 3\)"),
        (f"{__name__}:without_arguments", r"of shape \(8, 8, 3\): .* 0 positional arguments"),
        ("ResNet50", r"ResNet50 cannot be made for images of shape \(8, 8, 3\): .*32x32"),
    ],
)
def test_an_unknown_backbone_is_reported_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as raised:
        get_backbone(name, (8, 8, 3))
    assert "\n" not in str(raised.value)


def test_imagenet_takes_colours():
    with pytest.raises(
        ValueError, match=r"imagenet weights of ResNet50 take .*3 channels.*; got 1"
    ):
        get_backbone("resnet50", (64, 64, 1), "imagenet")


def test_a_download_that_fails_names_the_file(tmp_path, monkeypatch):
    files = {
        "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
    }
    damaged = tmp_path / "models" / files["EfficientNetV2B0"]
    damaged.parent.mkdir()
    damaged.write_text("not weights")

    def no_network(*arguments, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # Keras learned where its folder is when it was imported.
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    for name, file_name in files.items():
        with pytest.raises(ValueError, match="the imagenet weights of ") as error:
            get_backbone(name, (224, 224, 3), "imagenet")
        message = str(error.value)
        assert "could not be downloaded: get https://" in message
        assert message.endswith(f".h5 and put it at {tmp_path / 'models' / file_name}")
