"""Durations of a training step and an embedding: as published, as given, or measured."""

import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ccp_dml.data import DATASETS_IN_MEMORY
from ccp_dml.data.parallelism import disable_autotuning
from ccp_dml.experiment.methods import make_model
from ccp_dml.experiment.networks import make_embedding_model
from ccp_dml.experiment.settings import Settings

# The authors' times for a batch of 32 with BN-Inception on an RTX 2080 Ti.
_PUBLISHED_MS = {"plain": 97.0, "ccp": 105.0}
# The backward pass takes about twice as long as the forward pass.
_FORWARD_SHARE = 1 / 3
_PUBLISHED_BATCH = 32
_EMBEDDED = 64
_TIMED_STEPS, _TIMED_EMBEDDINGS = 5, 3


class StepTimes(NamedTuple):
    """Times on some device, in milliseconds.

    Attributes:
        steps: Time of a training step of each method; a missing method takes as long as `"plain"`.
        embedding: Time to embed one image.
        source: Their source, in words.
    """

    steps: Mapping[str, float]
    embedding: float
    source: str

    def step_time(self, method: str) -> float:
        """Returns the milliseconds of a step of a method."""
        return self.steps.get(method, self.steps["plain"])


def published_times() -> StepTimes:
    """Returns the times that the authors report.

    Example:

    >>> published_times().step_time("ccp")
    105.0
    """
    return _scale_published(1.0, "as the authors report for an RTX 2080 Ti")


def given_times(step_ms: float) -> StepTimes:
    """Returns times for a given plain step of 32 images, with the others in proportion.

    Args:
        step_ms: Its milliseconds.
    """
    return _scale_published(step_ms / _PUBLISHED_MS["plain"], f"for a plain step of {step_ms:g} ms")


def _scale_published(factor, source):
    steps = {method: factor * milliseconds for method, milliseconds in _PUBLISHED_MS.items()}
    return StepTimes(steps, steps["plain"] * _FORWARD_SHARE / _PUBLISHED_BATCH, source)


def measure_times(settings: Mapping[str, Settings], num_classes: int) -> StepTimes:
    """Measures a training step of several methods, and embedding, on the device of this process.

    Networks have random weights and see noise, so that no images are read or decoded.

    Args:
        settings: Settings of each method, including `"plain"`; data sets of images in files.
        num_classes: Number of training classes.
    """
    steps = {method: _measure_step(method, each, num_classes) for method, each in settings.items()}
    return StepTimes(steps, _measure_embedding(settings["plain"]), "measured on this machine")


def _measure_step(method, settings, num_classes):
    model = make_model(method, settings, make_embedding_model(settings), num_classes)
    classes, samples = settings.classes_per_batch, settings.samples_per_class
    images = _noise(classes * samples, settings)
    labels = np.repeat(np.arange(classes) % num_classes, samples).astype("int32")
    batches = disable_autotuning(tf.data.Dataset.from_tensors((images, labels)).repeat())
    watch = _Stopwatch()
    # The first epoch compiles the step.
    model.fit(
        batches,
        steps_per_epoch=_TIMED_STEPS,
        epochs=2,
        verbose=0,
        callbacks=[watch],
    )
    return 1000 * watch.seconds / _TIMED_STEPS


def _measure_embedding(settings):
    network, images = make_embedding_model(settings), _noise(_EMBEDDED, settings)
    seconds = math.inf
    # The first call compiles it, so it is never the fastest.
    for _ in range(1 + _TIMED_EMBEDDINGS):
        start = time.perf_counter()
        network.predict_on_batch(images)
        seconds = min(seconds, time.perf_counter() - start)
    return 1000 * seconds / _EMBEDDED


def _noise(count, settings):
    if settings.dataset in DATASETS_IN_MEMORY:
        raise ValueError(f"steps are measured for images in files; got {settings.dataset}")
    shape = (count, settings.image_size, settings.image_size, 3)
    return np.random.default_rng(0).standard_normal(shape, "float32")


class _Stopwatch(keras.callbacks.Callback):
    """Times the last epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self._start
