"""A trained network together with the preprocessing of its images."""

import functools
import os
from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_whole_number, printable
from ccp_dml.data import Preprocessing
from ccp_dml.data.decoding import composite
from ccp_dml.data.image_header import MAX_PIXELS, check_pixels, explain_damage, read_header
from ccp_dml.data.parallelism import PREFETCHED_BATCHES, disable_autotuning, map_in_parallel
from ccp_dml.data.preprocessing import crop_center, evaluation_image
from ccp_dml.data.value_scaling import rescale
from ccp_dml.evaluation import embed
from ccp_dml.layers import lipschitz_normalize

Image = str | os.PathLike | bytes | np.ndarray
"""A path, an encoded image, or pixels `(height, width, channels)` in 0…255."""

# Decoding this many images takes less time than starting a dataset.
_FEW = 16
_KINDS = {
    "paths": (str, os.PathLike),
    "encoded images (bytes)": bytes,
    "arrays": np.ndarray,
}
_CHANNELS = (1, 3, 4)


@keras.saving.register_keras_serializable("ccp_dml")
class ImageEmbedder(keras.Model):
    """Maps images in files to normalised embeddings.

    Resizing, the crop of the centre or the padding, the background of transparent pixels, colour
    and the scaling of values are part of the model, so that they are saved with it and images
    cannot be prepared incorrectly. Load it with `ccp_dml.inference.load`, or with
    `keras.models.load_model` after `import ccp_dml`.

    Args:
        network: A `keras.Model` from prepared images `(batch, image_size, image_size, channels)`,
            of 3 channels or 1, to embeddings `(batch, d)`.
        scaling: The values that `network` takes; see `ccp_dml.data.value_scaling.rescale`.
        resize_size: Size of the shorter side of an image after resizing, before the centre crop.
            Defaults to `None`: 256 / 227 of the size that `network` takes.
        background: The colour behind transparent pixels, and of the padding: a name or `#rrggbb`.
            Defaults to `"white"`, also for networks that were saved without it by earlier versions,
            which ignored transparency and the orientation in EXIF data.
        fit: `"crop"` (default), the centre of the image, or `"pad"`, the whole image, padded to a
            square with `background`.

    Attributes:
        network: The network.
        preprocessing: The preprocessing of images, a `ccp_dml.data.Preprocessing`.

    Call arguments:
        images: A batch of images of one size `(batch, height, width, channels)`, of 1, 3 or, with
            alpha, 4 channels, values in 0…255. Colours are reduced to luminance if `network` takes
            grey images.

    Returns:
        float32 embeddings `(batch, d)` after the Lipschitz normalisation.

    Raises:
        ValueError: If `network` does not take square images of 1 or 3 channels, `resize_size` is
            less than their size, `scaling` is unknown or not for grey images, or `background` or
            `fit` is unknown.
        RuntimeError: When it is called, directly or by `predict`, with a Keras backend other than
            TensorFlow, which preprocesses the images; `embed` works with all of them.
        tf.errors.InvalidArgumentError: When it is called, if values are not in 0…255, or are
            fractions of at most 1, as for images that have been divided by 255; not under XLA.

    Example:

    >>> network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> embedder = ImageEmbedder(network, scaling="unit", resize_size=8)
    >>> embedder.embed([np.full((20, 30, 3), 255, "uint8")]).shape
    (1, 64)
    """

    def __init__(
        self,
        network: keras.Model,
        scaling: str,
        resize_size: int | None = None,
        background: str = "white",
        fit: str = "crop",
        **kwargs,
    ):
        # Not in half precision, which cannot distinguish values in 0…255 after resizing.
        super().__init__(autocast=False, **kwargs)
        shape = getattr(network, "input_shape", None)
        if shape is None or len(shape) != 4 or shape[1] is None or shape[1] != shape[2]:
            raise ValueError(
                f"network must take square images (batch, size, size, channels); got {shape}"
            )
        if shape[3] not in (1, 3):
            raise ValueError(f"network must take images of 1 or 3 channels; got {shape[3]}")
        self.network = network
        self.preprocessing = Preprocessing(
            shape[1],
            resize_size,
            scaling=scaling,
            background=background,
            fit=fit,
            channels=shape[3],
        )
        # XLA has no kernels for the resizing.
        self.supports_jit = False
        self.built = True

    @property
    def embedding_size(self) -> int:
        """Number of dimensions d of the embeddings."""
        return self.network.compute_output_shape(self.network.input_shape)[-1]

    def __call__(self, *args, **kwargs):
        # Keras adds its own lines to the errors of `call`, which `predict` calls directly.
        _check_backend()
        return super().__call__(*args, **kwargs)

    def call(self, images, training=None):
        _check_backend()
        if images.shape.rank != 4 or images.shape[3] not in _CHANNELS:
            raise ValueError(
                "images must be (batch, height, width, channels) of 1, 3 or 4 channels; got the "
                f"shape {tuple(images.shape)}"
            )
        with tf.control_dependencies(_assert_pixels(images)):
            images = tf.cast(images, tf.float32)
        if images.shape[3] == 4:
            images = tf.cast(composite(images, self.preprocessing.background_color), tf.float32)
        crops = crop_center(images, self.preprocessing)
        return self.embed_crops(crops)

    def embed_crops(self, crops: tf.Tensor) -> tf.Tensor:
        """Embeds images that have the size that the network takes.

        Args:
            crops: Batch of images `(batch, image_size, image_size, 1 or 3)`, values in 0…255.

        Returns:
            float32 embeddings `(batch, d)` after the Lipschitz normalisation.
        """
        embeddings = self.network(self._scale(crops), training=False)
        return lipschitz_normalize(tf.cast(embeddings, tf.float32))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.embedding_size)

    def embed(
        self, images: Iterable[Image], batch_size: int = 256, max_pixels: int = MAX_PIXELS
    ) -> np.ndarray:
        """Embeds images, with the same preprocessing as in evaluation.

        Args:
            images: Paths (or URLs that TensorFlow can read), encoded JPEG, PNG, WebP, GIF or BMP
                images (`bytes`), or arrays `(height, width, channels)` or `(height, width)` of
                values in 0…255, each of any size, of 1, 3 or, with alpha, 4 channels; or one array
                `(n, height, width, channels)`.
            batch_size: Number of images at a time. Defaults to 256.
            max_pixels: Largest number of pixels, width times height, of an encoded image; larger
                images are not decoded. Defaults to 50 million.

        Returns:
            float32 embeddings `(n, d)` after the Lipschitz normalisation.

        Raises:
            ValueError: If an image is none of these, is damaged, is too large or has other values;
                the message says which one.
            OSError: If a file cannot be read.
        """
        check_whole_number("batch_size", batch_size, 1)
        check_whole_number("max_pixels", max_pixels, 1)
        images = _list_images(images)
        if not images:
            return np.zeros((0, self.embedding_size), "float32")
        if isinstance(images[0], np.ndarray):
            return self._embed_crops(_crop_arrays(images, self.preprocessing), batch_size)
        are_encoded = isinstance(images[0], bytes)
        decode = _make_decoder(are_encoded, self.preprocessing, max_pixels)
        try:
            if len(images) <= _FEW:
                crops = tf.data.Dataset.from_tensors(tf.stack([decode(image) for image in images]))
                crops = crops.unbatch()
            else:
                crops = map_in_parallel(tf.data.Dataset.from_tensor_slices(images), decode)
            return self._embed_crops(crops, batch_size)
        except tf.errors.OpError:
            _raise_first_problem(images, are_encoded, self.preprocessing, max_pixels)
            raise

    def _embed_crops(self, crops, batch_size):
        batches = crops.batch(batch_size).map(self._scale).prefetch(PREFETCHED_BATCHES)
        return embed(self.network, disable_autotuning(batches))

    def _scale(self, crops):
        """Scales crops, uint8 `(batch, image_size, image_size, channels)`, for the network."""
        return rescale(crops, self.preprocessing.scaling)

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "scaling": self.preprocessing.scaling,
            "resize_size": self.preprocessing.shorter_side,
            "background": self.preprocessing.background,
            "fit": self.preprocessing.fit,
        }

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def _check_backend():
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "only TensorFlow can prepare images within a call: use embedder.embed(images), or "
            "embedder.network, which takes prepared images; Keras's backend is "
            f"{keras.backend.backend()}"
        )


def _assert_pixels(images):
    """Makes assertions that fail for images that are already scaled, as far as can be seen."""
    if not images.dtype.is_floating:
        return []
    lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
    # A batch may be black, or empty.
    may_be_pixels = (lowest >= 0) & (highest <= 255) & ((highest > 1) | (highest <= 0))
    # As long as TensorFlow's messages allow.
    message = "images must have values in 0 to 255, as in files, and not scaled; got values in"
    return [tf.debugging.Assert(may_be_pixels, [message, lowest, highest])]


def _list_images(images) -> Sequence[Image]:
    """Returns images as a list of strings, of bytes or of arrays `(height, width, channels)`."""
    if isinstance(images, (str, os.PathLike, bytes)):
        raise ValueError(f"images must be a list of images; got one {type(images).__name__}")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OSU" and images.ndim != 4:
        raise ValueError(
            "an array of images must be (n, height, width, channels), and one image must be in a "
            f"list; got shape {images.shape}"
        )
    images = list(images)
    first_kind = None
    for position, image in enumerate(images):
        kind = next((name for name, types in _KINDS.items() if isinstance(image, types)), None)
        if kind is None or kind != (first_kind := first_kind or kind):
            allowed = first_kind or f"{', '.join(list(_KINDS)[:2])} or arrays"
            raise ValueError(
                f"images must be {allowed}; got {type(image).__name__} at position {position}"
            )
        if kind == "arrays":
            images[position] = _check_array(image, position)
    return [_check_path(os.fspath(path)) for path in images] if first_kind == "paths" else images


def _check_path(path):
    """Returns the path of a file; a pipe would block its reader."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"{printable(path)} cannot be read: it is not a file")
    return path


def _check_array(pixels, position):
    """Returns pixels as an array `(height, width, channels)` with checked values."""
    shape = pixels.shape
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in _CHANNELS or not pixels.size:
        raise ValueError(
            "arrays must be (height, width, channels) of 1, 3 or 4 channels, or (height, width); "
            f"got shape {shape} at position {position}"
        )
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iuf":
        raise ValueError(
            f"arrays must hold numbers in 0…255; got {pixels.dtype} at position {position}"
        )
    lowest, highest = pixels.min(), pixels.max()
    # NaN is not in the range either.
    if not (lowest >= 0 and highest <= 255):
        raise ValueError(
            "arrays must have values in 0…255, as in files, and not scaled; got "
            f"{lowest:g} to {highest:g} at position {position}"
        )
    if pixels.dtype.kind == "f" and 0 < highest <= 1:
        raise ValueError(
            "arrays must have values in 0…255, as in files: multiply those in 0…1 by 255; got "
            f"{lowest:g} to {highest:g} at position {position}"
        )
    return pixels


def _crop_arrays(arrays, preprocessing):
    # Grey images among coloured ones have their pixels repeated, as by a decoder.
    num_channels = 1 if all(pixels.shape[2] == 1 for pixels in arrays) else 3

    def generate():
        for pixels in arrays:
            if pixels.shape[2] == 4:
                pixels = composite(pixels, preprocessing.background_color).numpy()
            pixels = pixels.astype("float32")
            yield np.broadcast_to(pixels, (*pixels.shape[:2], num_channels))

    signature = tf.TensorSpec((None, None, num_channels), tf.float32)
    pixels_of_all = tf.data.Dataset.from_generator(generate, output_signature=signature)
    # Keras warns about data sets of unknown length.
    pixels_of_all = pixels_of_all.apply(tf.data.experimental.assert_cardinality(len(arrays)))
    return map_in_parallel(
        pixels_of_all, lambda pixels: crop_center(pixels[tf.newaxis], preprocessing)[0]
    )


@functools.lru_cache(maxsize=8)
def _make_decoder(are_encoded, preprocessing, max_pixels):
    """Makes a function from an image to its crop; cached, because tracing takes seconds."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(image):
        contents = image if are_encoded else tf.io.read_file(image)
        check = tf.numpy_function(lambda encoded: _check(encoded, max_pixels), [contents], [])
        with tf.control_dependencies([check]):
            return evaluation_image(tf.identity(contents), preprocessing)

    return decode


def _check(contents, max_pixels):
    """Raises an error if something is not an image, or is too large."""
    check_pixels(read_header(contents), max_pixels)


def _raise_first_problem(images, are_encoded, preprocessing, max_pixels):
    """Raises an error that says which image cannot be read or decoded."""
    for position, image in enumerate(images):
        name = f"the image at position {position}" if are_encoded else printable(image)
        try:
            contents = image if are_encoded else tf.io.read_file(image)
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(f"{name} does not exist") from error
        except tf.errors.OpError as error:
            raise OSError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
        encoded = contents if are_encoded else contents.numpy()
        try:
            _check(encoded, max_pixels)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from error
        try:
            evaluation_image(contents, preprocessing)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"{name} {explain_damage(encoded)}") from error
