import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.data import Preprocessing
from ccp_dml.data.preprocessing import crop_center
from ccp_dml.inference import ImageEmbedder
from ccp_dml.inference.export import export
from ccp_dml.inference.portable_preprocessing import crop_center_portably
from tests.data.pictures import encoded, gradient

SIZES = [(37, 51), (64, 40), (301, 223), (16, 16), (9, 120), (1, 1), (700, 30)]


def embedder_of(size=5, activation="relu", channels=3, **preprocessing):
    network = keras.Sequential(
        [
            keras.Input((16, 16, channels)),
            keras.layers.Conv2D(4, 3, activation=activation),
            keras.layers.Normalization(mean=[0.1] * 4, variance=[2.0] * 4),
            keras.layers.Flatten(),
            keras.layers.Dense(size),
        ]
    )
    return ImageEmbedder(network, "unit", **preprocessing)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for number, (height, width) in enumerate(SIZES):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(encoded(gradient(height, width, seed=number), "PNG"))
    return paths


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "options",
    [{}, {"resize_size": 23}, {"resize_size": 16}, {"fit": "pad", "background": "#1040f0"}],
)
def test_the_portable_crop_is_that_of_evaluation(size, options):
    images = gradient(*size, seed=3)[np.newaxis]
    preprocessing = Preprocessing(16, **options)
    expected = crop_center(tf.constant(images), preprocessing).numpy().astype("float32")
    found = crop_center_portably(tf.constant(images), preprocessing).numpy()
    # Rounding to whole values may go either way.
    assert np.abs(found - expected).max() <= 1
    assert np.sum(found != expected) <= 1


def run_example(program, paths):
    """Runs a program that `export` wrote, in a process that cannot import this package."""
    code = "import sys; sys.modules['ccp_dml'] = None; sys.modules['keras'] = None; import runpy; "
    code += f"found = runpy.run_path({str(program)!r})['embed'](sys.argv[1:]); "
    code += "import json; print(json.dumps(found.tolist()))"
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.fspath(pathlib.Path(program).parent),
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert result.returncode == 0, result.stderr
    return np.array(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("format", "fit"), [("saved_model", "pad"), ("onnx", "crop"), ("tflite", "pad")]
)
def test_an_exported_model_embeds_without_this_package(format, fit, pictures, tmp_path):
    embedder = embedder_of(fit=fit, background="teal", resize_size=20)
    made = export([embedder], tmp_path / "made", format, [each.read_bytes() for each in pictures])
    assert made.num_images == len(SIZES)
    assert made.largest_difference < 1e-4
    found = run_example(made.example, pictures)
    np.testing.assert_allclose(found, embedder.embed(pictures), atol=1e-4)


def test_several_networks_become_one(pictures, tmp_path):
    embedders = [embedder_of(3), embedder_of(4, resize_size=30)]
    made = export(embedders, tmp_path / "made", "onnx")
    parts = np.concatenate([each.embed(pictures) for each in embedders], axis=1)
    expected = parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1)
    np.testing.assert_allclose(run_example(made.example, pictures), expected, atol=1e-4)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_gelu_and_grey_networks_are_exported(format, tmp_path):
    made = export([embedder_of(activation="gelu", channels=1)], tmp_path, format)
    assert 0 <= made.largest_difference < 1e-4


def test_quantized_models_are_smaller(tmp_path):
    embedder = embedder_of(size=64)
    sizes = []
    for quantization in ("none", "float16", "int8"):
        made = export([embedder], tmp_path, "tflite", quantization=quantization)
        sizes.append(made.path.stat().length)
        assert made.largest_difference < 1e-2
    assert sizes[1] < 0.7 * sizes[0]
    assert sizes[2] < 0.7 * sizes[1]


def test_a_saved_model_takes_files_and_pixels(tmp_path):
    embedder = embedder_of()
    made = export([embedder], tmp_path, "saved_model")
    signatures = tf.saved_model.load(str(made.path)).signatures
    pixels = gradient(40, 30, seed=1)
    contents = encoded(pixels, "PNG")
    expected = embedder.embed([pixels])
    for name, images in [("serving_default", [contents] * 2), ("pixels", np.stack([pixels] * 2))]:
        found = signatures[name](tf.constant(images))["embeddings"]
        np.testing.assert_allclose(found, np.repeat(expected, 2, axis=0), atol=1e-5)


def test_a_model_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    embedder = embedder_of()
    right = embedder.embed
    monkeypatch.setattr(embedder, "embed", lambda images: right(images) + 2e-4)
    with pytest.raises(ValueError, match="differ from those of Keras by up to 0"):
        export([embedder], tmp_path / "made", "onnx")
    assert not (tmp_path / "made").exists()


def test_an_earlier_export_is_replaced_and_others_stay(tmp_path):
    export([embedder_of()], tmp_path, "saved_model")
    (tmp_path / "saved_model" / "assets").mkdir(exist_ok=True)
    (tmp_path / "saved_model" / "assets" / "of_the_earlier.txt").write_text("")
    (tmp_path / "mine.txt").write_text("")
    export([embedder_of(size=7)], tmp_path, "saved_model")
    assert not (tmp_path / "saved_model" / "assets" / "of_the_earlier.txt").exists()
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "pickle"}, "format must be one of saved_model, onnx, tflite; got 'pickle'"),
        ({"format": "onnx", "quantization": "int8"}, "quantization is for the format tflite"),
        ({"format": "tflite", "quantization": "int4"}, "quantization must be one of"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export([embedder_of()], tmp_path, **arguments)


def test_networks_with_different_backgrounds(tmp_path):
    embedders = [embedder_of(), embedder_of(background="black")]
    with pytest.raises(ValueError, match="the same background; got black, white"):
        export(embedders, tmp_path, "saved_model")


def test_operations_that_onnx_lacks(tmp_path):
    network = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Flatten(),
            keras.layers.Lambda(lambda x: tf.math.bessel_i0(x)),
        ]
    )
    with pytest.raises(ValueError, match="ONNX has no BesselI0"):
        export([ImageEmbedder(network, "unit")], tmp_path, "onnx")
