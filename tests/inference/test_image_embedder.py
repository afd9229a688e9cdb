import itertools
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ccp_dml.data import ImageFiles, LabeledImages, Preprocessing
from ccp_dml.inference import ImageEmbedder
from tests.cases import slow_except
from tests.data.pictures import encoded, gradient

SIZES = [(37, 51), (64, 40), (301, 223), (16, 16), (9, 120), (1, 1)]


def network_of(shape=(16, 16, 3), size=5):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(size, use_bias=False),
            keras.layers.UnitNormalization(),
        ]
    )


def pictures():
    return [gradient(*size, seed=seed) for seed, size in enumerate(SIZES)]


def noise(height, width, channels=3):
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), "uint8")


# Decoding, resizing and scaling are separate steps; all of their combinations are slow to test.
HOW_TO_PREPARE = [
    ("JPEG", "unit", None),
    ("PNG", "unit", 23),
    ("PNG", "symmetric", 16),
    ("JPEG", "raw", 23),
    ("PNG", "torch", None),
    ("JPEG", "bgr", 16),
]


@pytest.mark.parametrize(
    ("format", "scaling", "resize_size"),
    slow_except(
        HOW_TO_PREPARE,
        list(
            itertools.product(
                ["JPEG", "PNG"], ["unit", "symmetric", "raw", "torch", "bgr"], [None, 16, 23]
            )
        ),
    ),
)
def test_files_are_embedded_as_evaluation_embeds_them(format, scaling, resize_size, tmp_path):
    paths = [tmp_path / f"{number}.{format.lower()}" for number in range(len(SIZES))]
    for path, pixels in zip(paths, pictures(), strict=True):
        path.write_bytes(encoded(pixels, format))
    network = network_of()
    data = ImageFiles(
        np.array([str(path) for path in paths]),
        np.arange(len(paths)),
        Preprocessing(16, resize_size, scaling=scaling),
    )
    expected = network.predict(data.evaluation_images(), verbose=0)
    embedder = ImageEmbedder(network, scaling, resize_size)
    for images in (paths, data.paths, [path.read_bytes() for path in paths]):
        embeddings = embedder.embed(images, batch_size=4)
        assert embeddings.dtype == "float32"
        np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    assert np.abs(expected[0] - expected[2]).max() > 1e-3


def test_grey_networks_see_the_luminance(tmp_path):
    network = network_of((16, 16, 1))
    embedder = ImageEmbedder(network, "unit", resize_size=16)
    colors = [noise(16, 16), gradient(16, 16)]
    grey = [np.asarray(Image.fromarray(pixels).convert("L")) for pixels in colors]
    data = LabeledImages(np.stack(grey)[..., None].astype("float32") / 255, np.arange(2))
    expected = network.predict(data.evaluation_images(), verbose=0)
    for images in (grey, np.stack(grey)[..., None], [encoded(each, "PNG") for each in grey]):
        np.testing.assert_allclose(embedder.embed(images), expected, atol=1e-6)
    # Pillow rounds down where we round.
    for images in (colors, [encoded(each, "PNG") for each in colors]):
        np.testing.assert_allclose(embedder.embed(images), expected, atol=0.01)
    np.testing.assert_array_equal(
        embedder.embed(colors), embedder.embed([encoded(each, "PNG") for each in colors])
    )


# Other dtypes are converted as these are.
@pytest.mark.parametrize(
    "dtype", slow_except(["uint8", "float32"], ["uint8", "int64", "float32", "float64"])
)
def test_arrays_equal_files_of_the_same_pixels(dtype):
    embedder = ImageEmbedder(network_of(), "torch")
    arrays = [*pictures(), noise(77, 140), noise(300, 200)]
    expected = embedder.embed([encoded(pixels, "PNG") for pixels in arrays])
    embeddings = embedder.embed([pixels.astype(dtype) for pixels in arrays])
    np.testing.assert_array_equal(embeddings, expected)
    for pixels, row in zip(arrays, expected, strict=True):
        (called,) = embedder(pixels[np.newaxis].astype(dtype))
        np.testing.assert_allclose(called, row, atol=1e-6)
        (predicted,) = embedder.predict(pixels[np.newaxis].astype(dtype), verbose=0)
        np.testing.assert_allclose(predicted, row, atol=1e-6)


def test_grey_arrays_are_repeated():
    embedder = ImageEmbedder(network_of(), "bgr")
    grey, color = noise(40, 30, 1), noise(31, 30)
    expected = embedder.embed([np.repeat(grey, 3, axis=2), color])
    for images in ([grey, color], [grey[..., 0], color]):
        np.testing.assert_array_equal(embedder.embed(images), expected)
    np.testing.assert_allclose(embedder.embed([grey]), expected[:1], atol=1e-6)
    np.testing.assert_allclose(embedder(grey[np.newaxis]), expected[:1], atol=1e-6)


def test_embeddings_are_normalised():
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    embedder = ImageEmbedder(network, "raw", resize_size=8)
    images = noise(8, 8, 1)[np.newaxis]
    flat = images.reshape(1, -1).astype("float64")
    expected = flat / np.linalg.norm(flat)
    np.testing.assert_allclose(embedder.embed(images), expected, atol=1e-6)
    np.testing.assert_allclose(embedder.predict(images, verbose=0), expected, atol=1e-6)


# `tests/test_import.py` loads one in a process that has imported nothing but the package.
def test_saved_networks_are_loaded_with_their_preprocessing(tmp_path):
    embedder = ImageEmbedder(network_of(), "symmetric", resize_size=21)
    embedder.save(tmp_path / "model.keras")
    image = noise(50, 33)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.embed([image]), embedder.embed([image]), atol=1e-6)
    assert loaded.preprocessing == embedder.preprocessing
    copy = ImageEmbedder.from_config(embedder.get_config())
    assert copy.preprocessing == embedder.preprocessing
    # Today's default is saved as a number.
    assert ImageEmbedder(network_of(), "unit").get_config()["resize_size"] == 18


def test_nothing_gives_no_embeddings():
    embedder = ImageEmbedder(network_of(), "unit")
    for nothing in ([], np.zeros((0, 30, 30, 3), "uint8")):
        embeddings = embedder.embed(nothing)
        assert embeddings.shape == (0, 5)
        assert embeddings.dtype == "float32"


def test_half_precision_is_for_the_network():
    network = network_of()
    expected = ImageEmbedder(network, "unit").embed(pictures())
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        embedder = ImageEmbedder(network, "unit")
    finally:
        keras.config.set_dtype_policy("float32")
    image = pictures()[0][np.newaxis].astype("float32")
    embeddings = embedder(image)
    assert embeddings.dtype == tf.float32
    np.testing.assert_allclose(embeddings, expected[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("cat.jpg", "images must be a list of images; got one str"),
        (pathlib.Path("cat.jpg"), "got one PosixPath"),
        (b"...", "got one bytes"),
        (noise(4, 5), r"one image must be in a list; got shape \(4, 5, 3\)"),
        ([None], "arrays; got NoneType at position 0"),
        ([3, 4], "arrays; got int at position 0"),
        ([Image.new("RGB", (4, 4))], "arrays; got Image at position 0"),
        ([noise(4, 4), "cat.jpg"], "images must be arrays; got str at position 1"),
        (["cat.jpg", b""], "images must be paths; got bytes at position 1"),
        ([noise(4, 4), noise(4, 4, 2)], r"got shape \(4, 4, 2\) at position 1"),
        ([noise(4, 4)[np.newaxis]], r"got shape \(1, 4, 4, 3\) at position 0"),
        ([noise(4, 4)[:0]], r"got shape \(0, 4, 3\) at position 0"),
        ([noise(4, 4) / 255], "multiply those in 0…1 by 255; got .* at position 0"),
        ([noise(4, 4) / 127.5 - 1], "in 0…255, as in files, and not scaled; got -"),
        ([noise(4, 4).astype("uint16") * 257], "in 0…255, as in files, and not scaled; got "),
        ([np.full((4, 4, 3), np.nan)], "in 0…255, as in files, and not scaled; got nan"),
        ([noise(4, 4) > 100], "must hold numbers in 0…255; got bool at position 0"),
    ],
)
def test_what_is_not_an_image_is_named(images, message):
    with pytest.raises(ValueError, match=message):
        ImageEmbedder(network_of(), "unit").embed(images)


def test_files_that_cannot_be_read_are_named(tmp_path):
    embedder = ImageEmbedder(network_of(), "unit")
    (tmp_path / "good.png").write_bytes(encoded(noise(20, 20), "PNG"))
    (tmp_path / "notes.png").write_text("notes")
    (tmp_path / "half.jpg").write_bytes(encoded(noise(40, 40))[:300])
    good = tmp_path / "good.png"
    with pytest.raises(FileNotFoundError, match=r"none.png does not exist"):
        embedder.embed([good, tmp_path / "none.png"])
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(OSError, match=f"{path} cannot be read: it is not a file"):
            embedder.embed([good, path])
    problems = {
        "notes.png": "is not in one of the formats JPEG, PNG, GIF, BMP, WEBP",
        "half.jpg": "is damaged",
    }
    for name, problem in problems.items():
        with pytest.raises(ValueError, match=f"{name} {problem}"):
            embedder.embed([good, tmp_path / name])
        with pytest.raises(ValueError, match=f"the image at position 1 {problem}"):
            embedder.embed([good.read_bytes(), (tmp_path / name).read_bytes()])


def test_large_images_are_refused(tmp_path):
    embedder = ImageEmbedder(network_of(), "unit")
    path = tmp_path / "large.png"
    path.write_bytes(encoded(noise(20, 30), "PNG"))
    for images in ([path], [path.read_bytes()]):
        assert embedder.embed(images, max_pixels=600).shape == (1, 5)
        with pytest.raises(ValueError, match="has 30 x 20 pixels, more than max_pixels, 599"):
            embedder.embed(images, max_pixels=599)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_images_are_before_the_background(kind):
    pixels = noise(40, 30, 4)
    embedder = ImageEmbedder(network_of(), "unit", 18, "#102030", "pad")
    alpha = pixels[..., 3:] / 255
    opaque = np.round(pixels[..., :3] * alpha + [16, 32, 48] * (1 - alpha)).astype("uint8")
    expected = embedder.embed([opaque])
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    for images in ([encoded(pixels, kind, **options)], [pixels], pixels[np.newaxis]):
        np.testing.assert_allclose(embedder.embed(images), expected, atol=1e-6)
    np.testing.assert_allclose(embedder(pixels[np.newaxis]), expected, atol=1e-6)
    copy = ImageEmbedder.from_config(embedder.get_config())
    assert copy.preprocessing == embedder.preprocessing


def test_a_call_refuses_prepared_images():
    embedder = ImageEmbedder(network_of(), "unit")
    pixels = noise(20, 20)[np.newaxis].astype("float32")
    for prepared in (pixels / 255, pixels / 127.5 - 1, pixels * 2):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="images must have values in 0 to 255"
        ):
            embedder(prepared)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="images must have values in 0 to 255"
        ):
            embedder.predict(prepared, verbose=0)
    assert embedder(np.zeros((1, 20, 20, 3), "float32")).shape == (1, 5)
    with pytest.raises(ValueError, match=r"images must be \(batch, height, width, channels\)"):
        embedder(pixels[0])


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (network_of((16, 18, 3)), {}, r"square images .* got \(None, 16, 18, 3\)"),
        (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), {}, r"got \(None, 4\)"),
        (network_of((16, 16, 2)), {}, "1 or 3 channels; got 2"),
        (network_of(), {"scaling": "rgb"}, "scaling must be one of unit, .*; got 'rgb'"),
        (network_of((16, 16, 1)), {"scaling": "bgr"}, "must be one of unit, symmetric, raw; got"),
        (network_of(), {"resize_size": 15}, "at least image_size, 16; got 15"),
    ],
)
def test_wrong_networks_and_preprocessing(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageEmbedder(network, **{"scaling": "unit", **arguments})
