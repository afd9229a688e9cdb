"""Retrieval without metric learning: raw pixels, and features before training."""

import math
from collections.abc import Sequence

import keras
import numpy as np

from ccp_dml.data import Benchmark, LabeledSamples
from ccp_dml.experiment.metrics import measure
from ccp_dml.experiment.settings import Settings
from ccp_dml.layers import lipschitz_normalize
from ccp_dml.models import MetricLearningModel

# For one image, 64 x 64 in colour, and for all test images, in bytes.
_MAX_PIXELS = 64 * 64 * 3
_MAX_BYTES = 2**30


def measure_baselines(
    model: MetricLearningModel,
    benchmark: Benchmark,
    settings: Settings,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[dict[str, dict[str, float]], list[np.ndarray]]:
    """Measures the baselines that a method has to beat.

    Args:
        model: The model before training.
        benchmark: The data.
        settings: See `measure`.
        callbacks: Passed to `model.predict`, to show progress. Defaults to none.

    Returns:
        The metrics of `"raw_pixels"`, normalised to unit length, if images are small; of the
        backbone's `"pooled_features"`, likewise normalised; and of the embeddings `"before"`
        training. Second, these embeddings, as `embed_test` returns them.
    """
    parts = [benchmark.test] + ([benchmark.gallery] if benchmark.gallery is not None else [])
    measured = {}
    if _are_small(parts):
        pixels = [_embed_pixels(part) for part in parts]
        measured["raw_pixels"] = measure(pixels, benchmark, settings).metrics
    embedded = [_embed_twice(model, part, callbacks) for part in parts]
    for name, embeddings in zip(
        ("pooled_features", "before"), zip(*embedded, strict=True), strict=True
    ):
        measured[name] = measure(embeddings, benchmark, settings).metrics
    measured["before"] |= {"steps": 0, "rounds": 0, "seconds": 0.0}
    return measured, list(embeddings)


def _are_small(parts: list[LabeledSamples]) -> bool:
    pixels = math.prod(parts[0].image_shape)
    return pixels <= _MAX_PIXELS and 4 * pixels * sum(map(len, parts)) <= _MAX_BYTES


def _embed_twice(model, part, callbacks):
    """Returns normalised pooled features and embeddings from one pass over the images."""
    network = model.embedding_model
    inputs = keras.Input(part.image_shape)
    features = network.features(inputs, training=False)
    embeddings = model.normalization(network.projection(features))
    both = keras.Model(inputs, [features, embeddings])
    outputs = both.predict(part.evaluation_images(), verbose=0, callbacks=list(callbacks))
    return [np.asarray(lipschitz_normalize(each), "float32") for each in outputs]


def _embed_pixels(part: LabeledSamples) -> np.ndarray:
    images = np.concatenate([batch.numpy() for batch in part.evaluation_images()])
    return np.asarray(lipschitz_normalize(images.reshape(len(images), -1)), "float32")
