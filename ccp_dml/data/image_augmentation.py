"""Random changes of the colours of training images in files, determined by stateless seeds."""

import inspect
import math
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from ccp_dml import identifiers
from ccp_dml.checks import (
    check_above,
    check_at_least,
    check_at_most,
    check_parameters,
    check_whole_number,
)

ImageAugmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Maps an image, float32 `(height, width, 3)` in 0…255, and a stateless seed, int64 `(2,)`, to a
changed image of the same shape."""

COLOR_JITTER_PARAMETERS = ("brightness", "contrast", "saturation", "hue")
"""The keys of `color_jitter`."""

_VALUES = (0, 255)
# Areas and aspect ratios of erased boxes (Zhong et al., AAAI 2020).
_ERASED_AREA = (0.02, 0.33)
_ERASED_ASPECT_RATIO = (0.3, 1 / 0.3)


def compose_augmentation(
    image_size: int,
    color_jitter: Mapping[str, float] | None = None,
    rand_augment: int = 0,
    rand_augment_magnitude: float = 0.5,
    random_erasing: float = 0.0,
    augmentation: str = "",
) -> ImageAugmentation | None:
    """Combines augmentations: RandAugment, colour jitter, one of your own, random erasing.

    Args:
        image_size: Height and width of the images.
        color_jitter: Arguments of `jitter_colors` by name. Defaults to none.
        rand_augment: Number of operations of `rand_augment` for each image. Defaults to 0.
        rand_augment_magnitude: Their strength, 0…1. Defaults to 0.5.
        random_erasing: Probability of `erase_box`, 0…1. Defaults to 0.
        augmentation: `module:name` of your own; see `load_augmentation`. Defaults to none.

    Returns:
        The augmentation, which clips values to 0…255, or `None` if there is nothing to do.

    Raises:
        ValueError: If a number is out of range or unknown, or your own augmentation cannot be
            loaded.
    """
    strengths = dict(color_jitter or {})
    check_parameters("color_jitter", strengths, COLOR_JITTER_PARAMETERS)
    for name, strength in strengths.items():
        check_at_least(f"{name} of color_jitter", strength, 0)
        check_at_most(f"{name} of color_jitter", strength, 0.5 if name == "hue" else 1)
    check_at_least("rand_augment", rand_augment, 0)
    for name, number in (
        ("rand_augment_magnitude", rand_augment_magnitude),
        ("random_erasing", random_erasing),
    ):
        check_at_least(name, number, 0)
        check_at_most(name, number, 1)
    steps = []
    if rand_augment:
        steps.append(make_rand_augment(rand_augment, rand_augment_magnitude))
    if any(strengths.values()):
        steps.append(lambda image, seed: jitter_colors(image, seed, **strengths))
    if augmentation:
        steps.append(load_augmentation(augmentation, image_size))
    if random_erasing:
        steps.append(lambda image, seed: erase_box(image, seed, random_erasing))

    def augment(image, seed):
        shape = image.shape
        for number, step in enumerate(steps):
            image = tf.ensure_shape(step(image, _fold_in(seed, number)), shape)
        return tf.clip_by_value(image, *map(float, _VALUES))

    return augment if steps else None


def jitter_colors(
    image: tf.Tensor,
    seed: tf.Tensor,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue at random, like layers of Keras.

    It uses `tf.image`, which is 1.6 times as fast as `keras.layers.RandomColorJitter`.

    Args:
        image: float32 `(height, width, 3)` in 0…255.
        seed: Stateless seed `(2,)`.
        brightness: Largest number, as a fraction of 255, that is added to values. Defaults to 0.
        contrast: Largest relative change of the distances from the mean colour. Defaults to 0.
        saturation: Largest relative change of the saturation. Defaults to 0.
        hue: Largest rotation of the hue, as a fraction of the colour circle, up to 0.5. Defaults to
            0.

    Returns:
        float32 of the shape of `image`; values may exceed 0…255.
    """
    seeds = [_fold_in(seed, number) for number in range(4)]
    image = image / 255
    if brightness:
        image = tf.image.stateless_random_brightness(image, brightness, seeds[0])
    if contrast:
        image = tf.image.stateless_random_contrast(image, 1 - contrast, 1 + contrast, seeds[1])
    if saturation or hue:
        # Hue and saturation are defined for valid colours.
        image = tf.clip_by_value(image, 0.0, 1.0)
    if saturation:
        image = tf.image.stateless_random_saturation(
            image, 1 - saturation, 1 + saturation, seeds[2]
        )
    if hue:
        image = tf.image.stateless_random_hue(image, hue, seeds[3])
    return image * 255


def erase_box(image: tf.Tensor, seed: tf.Tensor, probability: float) -> tf.Tensor:
    """Fills a random box of an image with noise (Zhong et al., "Random Erasing", AAAI 2020).

    `keras.layers.RandomErasing` draws noise for the whole image, which takes several times as long.

    Args:
        image: float32 `(height, width, 3)` in 0…255.
        seed: Stateless seed `(2,)`.
        probability: Probability of erasing, 0…1.

    Returns:
        float32 of the shape of `image`. The box has 2–33 % of the area and an aspect ratio of
        0.3–3.3, if that fits into the image.
    """
    shape = tf.shape(image)
    sides = tf.cast(shape[:2], tf.float32)
    draw, area, aspect, *corner = tf.unstack(tf.random.stateless_uniform([5], seed))
    low, high = _ERASED_AREA
    area = (low + (high - low) * area) * tf.reduce_prod(sides)
    low, high = map(math.log, _ERASED_ASPECT_RATIO)
    stretch = tf.exp((low + (high - low) * aspect) / 2)
    box = tf.sqrt(area) * tf.stack([1 / stretch, stretch])
    box = tf.cast(tf.minimum(tf.round(box), sides), tf.int32) * tf.cast(
        draw < probability, tf.int32
    )
    free = tf.cast(shape[:2] - box + 1, tf.float32)
    # The product can be rounded up to `free`.
    first = tf.minimum(tf.cast(tf.stack(corner) * free, tf.int32), shape[:2] - box)
    margins = tf.concat([tf.stack([first, shape[:2] - box - first], axis=1), [[0, 0]]], axis=0)
    noise = tf.random.stateless_uniform(
        tf.concat([box, shape[2:]], axis=0), _fold_in(seed, 0), 0.0, 255.0
    )
    kept = tf.pad(tf.zeros(tf.concat([box, [1]], axis=0)), margins, constant_values=1.0)
    return image * kept + tf.pad(noise, margins)


def make_rand_augment(num_operations: int, magnitude: float) -> ImageAugmentation:
    """Makes RandAugment (Cubuk et al., NeurIPS 2020) from layers of Keras.

    `keras.layers.RandAugment` computes every operation for every image, eleven times
    `num_operations`, and keeps some; this function computes only those that were drawn.

    Args:
        num_operations: Operations for each image, at least 1, each drawn from all.
        magnitude: Their strength, 0…1: at 1 shears are up to 0.3, shifts up to 0.45 of a side and
            rotations up to 30°.

    Returns:
        The augmentation. Pixels outside an image are its reflection.
    """
    check_whole_number("num_operations", num_operations, 1)
    check_at_most("magnitude", magnitude, 1)
    check_above("magnitude", magnitude, 0)
    shared = {"dtype": "float32"}
    colors = {"value_range": _VALUES, **shared}
    sharpness = (0.5 - 0.5 * magnitude, 0.5 + 0.5 * magnitude)
    layers = (
        keras.layers.RandomShear(0.3 * magnitude, 0.3 * magnitude, **shared),
        keras.layers.RandomTranslation(0.45 * magnitude, 0.45 * magnitude, **shared),
        keras.layers.RandomRotation(magnitude / 12, **shared),
        keras.layers.RandomBrightness(0.5 * magnitude, **colors),
        keras.layers.RandomColorDegeneration(magnitude, **colors),
        keras.layers.RandomContrast(0.9 * magnitude, **colors),
        keras.layers.RandomSharpness(sharpness, **colors),
        keras.layers.RandomPosterization(8 - round(4 * magnitude), **colors),
        keras.layers.AutoContrast(**colors),
        keras.layers.Equalization(**colors),
    )
    operations = [
        *(make_stateless(layer, (None, None, 3)) for layer in layers),
        lambda image, seed: _solarize(image, seed, magnitude),
    ]

    # A function of its own, so that it is traced once for all operations of an image.
    @tf.function(autograph=False)
    def apply(drawn, image, seed):
        return tf.switch_case(
            drawn,
            [
                lambda operation=operation: tf.ensure_shape(operation(image, seed), image.shape)
                for operation in operations
            ],
        )

    def augment(image, seed):
        draws = tf.random.stateless_uniform(
            [num_operations], seed, maxval=len(operations), dtype=tf.int32
        )
        for number in range(num_operations):
            image = apply(draws[number], image, _fold_in(seed, number))
        return image

    return augment


def _solarize(image, seed, magnitude):
    """Inverts values above a threshold, whose lower bound Keras's layer ignores."""
    threshold = 255 * (1 - magnitude * tf.random.stateless_uniform([], seed))
    return tf.where(image < threshold, image, 255 - image)


def make_stateless(
    layer: keras.Layer, image_shape: tuple[int | None, int | None, int]
) -> ImageAugmentation:
    """Makes an augmentation from a layer, with random numbers that depend only on the seed.

    Keras's random number generators count their calls, so that their results depend on the order in
    which threads call them. Here their states are derived from the seed of the image.

    Args:
        layer: Takes and returns a batch of images `(1, height, width, 3)` in 0…255; it is called
            with `training=True` if it knows this argument; its generators are `keras.random`'s.
        image_shape: Height, width and channels of the images.

    Returns:
        The augmentation, float32.
    """
    if not layer.built:
        # Before the pipeline is traced, where no variables can be created.
        layer.build((None, *image_shape))
    takes_training = "training" in inspect.signature(layer.call).parameters
    options = {"training": True} if takes_training else {}

    def augment(image, seed):
        states = [
            tf.cast(_fold_in(seed, number), variable.dtype)
            if variable.path.endswith("seed_generator_state")
            else variable
            for number, variable in enumerate(layer.non_trainable_variables)
        ]
        images = tf.cast(image, tf.float32)[tf.newaxis]
        changed, _ = layer.stateless_call(layer.trainable_variables, states, images, **options)
        return tf.cast(changed, tf.float32)[0]

    return augment


def load_augmentation(address: str, image_size: int) -> ImageAugmentation:
    """Loads your own augmentation and tries it on a grey image.

    Args:
        address: `module:name` of a function of an image, float32 `(image_size, image_size, 3)` in
            0…255, and a stateless seed, int64 `(2,)`, that returns an image of this shape; or of a
            `keras.Layer`, or a subclass that needs no arguments, for batches of such images, whose
            random numbers are `keras.random`'s.
        image_size: Height and width of the images.

    Returns:
        The augmentation, float32.

    Raises:
        ValueError: If it cannot be imported, is neither of these, fails, or returns another shape.
    """
    shape = (image_size, image_size, 3)
    loaded = identifiers.load("augmentation", address)
    if isinstance(loaded, type) and issubclass(loaded, keras.Layer):
        try:
            loaded = loaded()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"augmentation {address!r} must be callable without arguments: {_last_line(error)}"
            ) from error
    if isinstance(loaded, keras.Layer):
        augment = make_stateless(loaded, shape)
    elif callable(loaded):
        augment = _return_floats(loaded)
    else:
        raise ValueError(
            f"augmentation {address!r} must be a keras.Layer or a function of an image and a seed; "
            f"got {loaded!r}"
        )
    try:
        # In a graph, as in the pipeline.
        returned = tf.function(augment)(tf.fill(shape, 127.0), tf.zeros([2], tf.int64)).shape
    except (
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        ArithmeticError,
        tf.errors.OpError,
    ) as error:
        raise ValueError(
            f"augmentation {address!r} fails on an image of shape {shape}: {_last_line(error)}"
        ) from error
    if returned != shape:
        raise ValueError(
            f"augmentation {address!r} must keep the shape {shape}; got {tuple(returned)}"
        )
    return augment


def _return_floats(function) -> ImageAugmentation:
    def augment(image, seed):
        return tf.cast(function(image, seed), tf.float32)

    return augment


def _fold_in(seed, number):
    return tf.random.experimental.stateless_fold_in(seed, number)


def _last_line(error):
    # TensorFlow says what was wrong on the last line, after the lines of code.
    return str(error).strip().splitlines()[-1].strip()
