"""Random changes of colours, determined by seeds."""

import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.data import compose_augmentation, load_augmentation, make_stateless
from ccp_dml.data.image_augmentation import erase_box, jitter_colors, make_rand_augment
from tests.data.pictures import gradient

IMAGE = gradient(24, 24).astype("float32")


def seed_of(number):
    return tf.constant([number, 1], tf.int64)


def augmented(augment, count=40, parallelism=1, image=IMAGE):
    """Images of the seeds 0, 1, …, as a pipeline makes them."""
    images = tf.data.Dataset.range(count).map(
        lambda number: augment(tf.constant(image), tf.stack([number, 1])),
        num_parallel_calls=parallelism,
    )
    return np.stack(list(images.as_numpy_iterator()))


class Noise(keras.Layer):
    """Has a generator of its own, another in an inner layer, and a weight."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(5)
        self.hue = keras.layers.RandomHue(0.3, value_range=(0, 255))
        self.scale = self.add_weight(shape=(), initializer="ones")

    def build(self, input_shape):
        self.hue.build(input_shape)
        self.built = True

    def call(self, images):
        noise = keras.random.uniform((), maxval=20, seed=self.generator)
        return self.hue(images) * self.scale + noise


def shift(image, seed):
    return image + tf.random.stateless_uniform([], seed, maxval=20)


@pytest.fixture(autouse=True)
def my_module(monkeypatch):
    module = types.ModuleType("my_augmentation")
    module.Noise, module.shift, module.number = Noise, shift, 3
    module.layers = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomZoom(0.2)])
    module.cut = lambda image, seed: image[:5]
    module.fails = lambda image, seed: image + tf.constant([1.0, 2.0])
    monkeypatch.setitem(sys.modules, "my_augmentation", module)


@pytest.mark.parametrize(
    "settings",
    [
        {"color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}},
        {"rand_augment": 2},
        {"random_erasing": 1.0},
        {"augmentation": "my_augmentation:Noise"},
        {"augmentation": "my_augmentation:layers"},
        {"augmentation": "my_augmentation:shift"},
        {"color_jitter": {"hue": 0.2}, "rand_augment": 1, "random_erasing": 0.5},
    ],
)
def test_images_depend_on_their_seed_alone(settings):
    augment = compose_augmentation(24, **settings)
    images = augmented(augment)
    assert images.dtype == np.float32
    assert images.shape == (40, 24, 24, 3)
    assert images.min() >= 0
    assert images.max() <= 255
    np.testing.assert_array_equal(augmented(augment, parallelism=8), images)
    # The result depends neither on earlier images nor on the object that makes them.
    np.testing.assert_array_equal(augmented(compose_augmentation(24, **settings), 3), images[:3])
    assert len(np.unique(images.reshape(40, -1), axis=0)) > 20


def test_nothing_to_do():
    assert compose_augmentation(24) is None
    assert compose_augmentation(24, color_jitter={"hue": 0.0}) is None


def test_brightness_adds_a_number():
    changes = np.stack(
        [jitter_colors(IMAGE, seed_of(n), brightness=0.2) - IMAGE for n in range(60)]
    )
    assert np.ptp(changes, axis=(1, 2, 3)).max() < 1e-3
    means = changes.mean((1, 2, 3))
    assert 40 < np.abs(means).max() <= 0.2 * 255 + 1e-3
    assert means.min() < 0 < means.max()


def test_contrast_stretches_around_the_mean_of_a_colour():
    centered = IMAGE - IMAGE.mean((0, 1))
    factors = []
    for number in range(60):
        changed = jitter_colors(IMAGE, seed_of(number), contrast=0.5).numpy()
        np.testing.assert_allclose(changed.mean((0, 1)), IMAGE.mean((0, 1)), atol=0.01)
        factors.append(np.sum((changed - IMAGE.mean((0, 1))) * centered) / np.sum(centered**2))
        np.testing.assert_allclose(
            changed - changed.mean((0, 1)), factors[-1] * centered, atol=0.01
        )
    assert 0.5 <= min(factors) < 0.6
    assert 1.4 < max(factors) <= 1.5


def test_saturation_and_hue_leave_grey_and_the_largest_colour():
    grey = np.repeat(IMAGE[..., :1], 3, axis=-1)
    for number in range(5):
        same = jitter_colors(grey, seed_of(number), saturation=0.5, hue=0.5)
        np.testing.assert_allclose(same, grey, atol=0.01)
        changed = jitter_colors(IMAGE, seed_of(number), saturation=0.5, hue=0.5)
        np.testing.assert_allclose(changed.numpy().max(-1), IMAGE.max(-1), atol=0.01)
        assert np.abs(changed - IMAGE).max() > 5


def test_a_box_is_erased():
    image = np.full((30, 40, 3), 300, "float32")
    areas, tops, lefts = [], [], []
    for number in range(300):
        erased = (erase_box(tf.constant(image), seed_of(number), 1.0).numpy() != 300).all(-1)
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        # A whole box, and nothing else.
        assert erased.sum() == len(rows) * len(columns) > 0
        assert np.ptp(rows) == len(rows) - 1
        assert np.ptp(columns) == len(columns) - 1
        areas.append(erased.mean())
        tops.append(rows[0])
        lefts.append(columns[0])
    assert 0.015 < min(areas) < 0.05
    assert 0.28 < max(areas) < 0.36
    assert min(tops) == min(lefts) == 0
    assert max(lefts) > 25


def test_boxes_are_erased_with_a_probability():
    image = np.full((8, 8, 3), 300, "float32")
    erased = augmented(lambda image, seed: erase_box(image, seed, 0.3), 1000, image=image)
    assert 0.24 < np.mean((erased != 300).any((1, 2, 3))) < 0.36


def test_rand_augment_draws_its_operations():
    one = augmented(make_rand_augment(1, 0.5), 200)
    two = augmented(make_rand_augment(2, 0.5), 200)
    # One operation cannot both turn and invert an image, but all operations occur: some move
    # pixels, some map values, and some leave this image almost as it is.
    distances = np.abs(one - IMAGE).mean((1, 2, 3))
    assert np.mean(distances < 1) < 0.4
    assert len(np.unique(distances.round(2))) > 100
    assert np.abs(two - IMAGE).mean() > np.abs(one - IMAGE).mean()
    weak = augmented(make_rand_augment(1, 0.1), 200)
    assert np.abs(weak - IMAGE).mean() < np.abs(one - IMAGE).mean()


def test_a_layer_computes_what_it_computes_in_a_model():
    layer = keras.layers.RandomContrast(0.4, value_range=(0, 255), seed=3)
    images = augmented(make_stateless(layer, (24, 24, 3)), 5)
    mean = IMAGE.mean((0, 1))
    inside = (images > 0) & (images < 255)
    for image, kept in zip(images, inside, strict=True):
        ratios = ((image - mean) / (IMAGE - mean))[kept & (np.abs(IMAGE - mean) > 5)]
        assert np.ptp(ratios) < 0.01
        assert 0.6 <= ratios.mean() <= 1.4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"color_jitter": {"gamma": 1}},
            "no parameter 'gamma'; it takes brightness, contrast, sat",
        ),
        ({"color_jitter": {"hue": 0.6}}, "hue of color_jitter must be at most 0.5; got 0.6"),
        ({"color_jitter": {"contrast": -1}}, "contrast of color_jitter must be at least 0; got -1"),
        ({"random_erasing": 1.5}, "random_erasing must be at most 1; got 1.5"),
        ({"rand_augment": -1}, "rand_augment must be at least 0; got -1"),
        ({"rand_augment_magnitude": 2}, "rand_augment_magnitude must be at most 1; got 2"),
    ],
)
def test_wrong_numbers_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        compose_augmentation(24, **settings)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere:layer", "must be of the form module:name and importable: No module named 'nowh"),
        ("my_augmentation", "must be of the form module:name and importable"),
        ("my_augmentation:gone", "importable: module 'my_augmentation' has no attribute 'gone'"),
        ("my_augmentation:number", "a keras.Layer or a function of an image and a seed; got 3"),
        ("my_augmentation:cut", r"must keep the shape \(24, 24, 3\); got \(5, 24, 3\)"),
        ("my_augmentation:fails", r"fails on an image of shape \(24, 24, 3\): .*must be equal"),
    ],
)
def test_an_invalid_augmentation_is_reported_in_one_line(address, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_augmentation(address, 24)
    assert address in str(raised.value)
    assert "\n" not in str(raised.value)
