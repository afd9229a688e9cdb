"""Images in files, decoded when a batch needs them."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_one_of
from ccp_dml.data.cache import cache_folder
from ccp_dml.data.image_augmentation import ImageAugmentation
from ccp_dml.data.image_index import file_state, is_remote
from ccp_dml.data.parallelism import (
    PREFETCHED_BATCHES,
    disable_autotuning,
    map_in_parallel,
)
from ccp_dml.data.preprocessing import (
    Preprocessing,
    evaluation_image,
    training_image,
)
from ccp_dml.data.samples import LabeledSamples
from ccp_dml.data.value_scaling import rescale, undo_rescale
from ccp_dml.progress_bar import ProgressBar

CACHES = ("none", "memory", "disk")
"""Where `ImageFiles` can keep what it has read."""

_TRANSFERS = 32
_SECONDS_WITHOUT_PROGRESS = 1.0
_CONTENTS = tf.TensorSpec((), tf.string)
_SEED = tf.TensorSpec((2,), tf.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles(LabeledSamples):
    """JPEG, PNG, WebP, GIF and BMP files with their classes.

    A sampler draws indices, and only the drawn images are read and decoded, in parallel; the result
    depends on the seed, not on the parallelism.

    Attributes:
        paths: Strings `(n,)`: local paths, or URLs that TensorFlow can read, such as `gs://…`.
        labels: Integers `(n,)`.
        preprocessing: How files are turned into inputs of the network. Defaults to
            `Preprocessing()`.
        cache: What to keep after reading. `"none"` (default): nothing. `"memory"`: the encoded
            files of training samples, and the inputs of evaluation samples, one byte per value.
            `"disk"`: these inputs, and copies of remote training files, in files below
            `cache_folder()`, for this run and later ones. It does not change results.
        augmentation: Augmentation of cropped training images, before their values are scaled.
            Defaults to none.

    Raises:
        ValueError: If the shapes do not fit or `cache` is unknown.
    """

    paths: np.ndarray
    labels: np.ndarray
    preprocessing: Preprocessing = dataclasses.field(default_factory=Preprocessing)
    cache: str = "none"
    augmentation: ImageAugmentation | None = None

    def __post_init__(self):
        if self.paths.ndim != 1 or self.labels.shape != self.paths.shape:
            raise ValueError(
                f"paths and labels must be (n,); got {self.paths.shape} and {self.labels.shape}"
            )
        check_one_of("cache", self.cache, CACHES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        size = self.preprocessing.image_size
        return (size, size, self.preprocessing.channels)

    def subset(self, indices: np.ndarray) -> "ImageFiles":
        return dataclasses.replace(self, paths=self.paths[indices], labels=self.labels[indices])

    def with_labels(self, labels: np.ndarray) -> "ImageFiles":
        return dataclasses.replace(self, labels=labels)

    def with_preprocessing(self, preprocessing: Preprocessing) -> "ImageFiles":
        return dataclasses.replace(self, preprocessing=preprocessing)

    def training_examples(
        self, batches: tf.data.Dataset, batch_size: int, seed: tf.Tensor, first_step: int = 0
    ) -> tf.data.Dataset:
        read, labels = self._reader, self._label_tensor

        def add_seeds(step, indices):
            step_seed = tf.random.experimental.stateless_fold_in(seed, step)
            seeds = tf.random.stateless_uniform(
                [tf.size(indices), 2], step_seed, minval=None, maxval=None, dtype=tf.int64
            )
            return indices, seeds

        # A random augmentation has to see images as they are.
        mirrored = self.preprocessing.scaling == "bgr" and self.augmentation is None
        crop = _training_crop(self.preprocessing, mirrored)

        def load(index, seed_of_image):
            image = crop(read(index), seed_of_image)
            if self.augmentation is not None:
                # Random numbers other than those of the crop.
                own_seed = tf.random.experimental.stateless_fold_in(seed_of_image, 0)
                image = self.augmentation(image, own_seed)
            return rescale(image, self.preprocessing.scaling, mirrored), tf.gather(labels, index)

        examples = batches.enumerate(first_step).map(add_seeds).unbatch()
        return disable_autotuning(map_in_parallel(examples, load).batch(batch_size))

    def evaluation_images(self, batch_size: int = 256) -> tf.data.Dataset:
        if self.cache == "none":
            batches = _decode_crops(self.paths, self.preprocessing).batch(batch_size)
        else:
            batches = _slice_batches(self._cached_crops, batch_size)
        scaling = self.preprocessing.scaling
        batches = batches.map(lambda images: rescale(images, scaling))
        return disable_autotuning(batches.prefetch(PREFETCHED_BATCHES))

    def show(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        # A few images are not worth caching.
        return super(ImageFiles, dataclasses.replace(self, cache="none")).show(indices)

    def displayable(self, images: np.ndarray) -> np.ndarray:
        return undo_rescale(images, self.preprocessing.scaling)

    @functools.cached_property
    def _label_tensor(self) -> tf.Tensor:
        """The labels as a tensor that all pipelines share: each would hold a copy of an array."""
        return tf.constant(self.labels)

    @functools.cached_property
    def _reader(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from the index of a sample to its encoded image."""
        if self.cache == "memory":
            paths = tf.data.Dataset.from_tensor_slices(self.paths)
            read = disable_autotuning(map_in_parallel(paths, tf.io.read_file))
            # Not a tensor, which would be a second copy of everything while it is created.
            contents = list(
                ProgressBar(
                    read.as_numpy_iterator(), "reading images", **_progress_options(len(self))
                )
            )
            return lambda index: tf.ensure_shape(
                tf.numpy_function(contents.__getitem__, [index], tf.string), ()
            )
        paths = self.paths
        if self.cache == "disk":
            paths = _copy_to_local(paths, cache_folder() / "files")
        paths = tf.constant(paths)
        return lambda index: tf.io.read_file(tf.gather(paths, index))

    @functools.cached_property
    def _cached_crops(self) -> np.ndarray:
        """Returns the inputs of all samples before scaling of values: uint8 `(n, *image_shape)`."""
        shape = (len(self), *self.image_shape)
        if self.cache == "memory":
            crops = np.empty(shape, "uint8")
            for row, image in enumerate(self._decode()):
                crops[row] = image
            return crops
        path = cache_folder() / "evaluation" / f"{_fingerprint(self.paths, self.preprocessing)}.npy"
        with _explain_cache_error(path):
            crops = _open_array(path, shape)
            if crops is not None:
                return crops
            with atomic_write(path) as unfinished, unfinished.open("wb") as file:
                # Not a memory map, with which a full disk would kill the process.
                np.lib.format.write_array_header_2_0(
                    file, {"descr": "|u1", "fortran_order": False, "shape": shape}
                )
                for image in self._decode():
                    file.write(image.tobytes())
            return np.load(path, mmap_mode="r")

    def _decode(self):
        images = _decode_crops(self.paths, self.preprocessing).as_numpy_iterator()
        return ProgressBar(images, "decoding images", **_progress_options(len(self)))


def _open_array(path, shape):
    """Reads an array from a file; `None` if there is no such file or it is damaged."""
    try:
        array = np.load(path, mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return array if array.shape == shape else None


@contextlib.contextmanager
def _explain_cache_error(path):
    """Raises an error that says what to do if the cache cannot be written to."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"the cache {path} cannot be written to ({error.strerror or error}): set the "
            "environment variable CCP_DML_CACHE to another folder, or choose a cache other than "
            "disk"
        ) from error


def _decode_crops(paths, preprocessing):
    crop = _evaluation_crop(preprocessing)
    return disable_autotuning(
        map_in_parallel(
            tf.data.Dataset.from_tensor_slices(paths), lambda path: crop(tf.io.read_file(path))
        )
    )


# Every validation, pool and gallery makes a pipeline, and tracing the decoders takes longer than
# decoding hundreds of small images.
@functools.lru_cache(maxsize=8)
def _evaluation_crop(preprocessing):
    """Makes the graph of `evaluation_image` that pipelines with this preprocessing share."""
    return tf.function(
        lambda contents: evaluation_image(contents, preprocessing, portable=False),
        input_signature=[_CONTENTS],
    )


@functools.lru_cache(maxsize=8)
def _training_crop(preprocessing, mirrored):
    """Makes the graph of `training_image` that pipelines with this preprocessing share."""
    return tf.function(
        lambda contents, seed: training_image(contents, seed, preprocessing, mirrored),
        input_signature=[_CONTENTS, _SEED],
    )


def _slice_batches(array, batch_size):
    """Makes batches of an array without a second copy in TensorFlow."""

    def rows(start):
        return array[start : start + batch_size]

    def load(start):
        return tf.ensure_shape(tf.numpy_function(rows, [start], tf.uint8), (None, *array.shape[1:]))

    return tf.data.Dataset.range(0, len(array), batch_size).map(load)


def _progress_options(total):
    return {"total": total, "unit": "image", "delay": _SECONDS_WITHOUT_PROGRESS, "leave": False}


def _fingerprint(paths, preprocessing):
    """Identifies the files, their sizes and times, and the preprocessing."""
    digest = hashlib.sha256()
    # Without settings that only affect training.
    seen = (
        preprocessing.image_size,
        preprocessing.shorter_side,
        preprocessing.fit,
        preprocessing.background_color,
        preprocessing.channels,
    )
    digest.update(repr((tf.__version__, seen)).encode())
    for path in paths:
        digest.update(path.encode())
        digest.update(repr(file_state(path)).encode())
    return digest.hexdigest()[:32]


def _copy_to_local(paths, folder: pathlib.Path) -> np.ndarray:
    """Copies remote files that are not in `folder` yet, and returns the local paths."""

    def local(path):
        if not is_remote(path):
            return path
        copy = folder / hashlib.sha256(repr((path, file_state(path))).encode()).hexdigest()[:32]
        if not copy.exists():
            with atomic_write(copy) as unfinished:
                tf.io.gfile.copy(path, os.fspath(unfinished), overwrite=True)
        return os.fspath(copy)

    with concurrent.futures.ThreadPoolExecutor(_TRANSFERS) as transfers:
        copies = ProgressBar(
            transfers.map(local, paths), "copying images", **_progress_options(len(paths))
        )
        with _explain_cache_error(folder):
            return np.array(list(copies))
