"""Retrieval without metric learning, against the plain computation."""

import keras
import numpy as np
import pytest

from ccp_dml.data import Benchmark, LabeledImages, load
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.experiment import baselines
from ccp_dml.experiment.baselines import measure_baselines
from ccp_dml.experiment.methods import make_model
from ccp_dml.models import EmbeddingModel
from tests import naive
from tests.cases import settings_of

SETTINGS = settings_of("contrastive", pooling="max")


def make_untrained(image_shape=(8, 8, 1), pooling="max"):
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [keras.Input(image_shape), keras.layers.Conv2D(8, 3, strides=2, activation="relu")]
    )
    return make_model("plain", SETTINGS, EmbeddingModel(backbone, 4, pooling), num_classes=5)


def assert_measured(measured, embeddings, labels, gallery=None, gallery_labels=None):
    expected = retrieval_metrics(
        naive.normalize(embeddings),
        labels,
        None if gallery is None else naive.normalize(gallery),
        gallery_labels,
    )
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, abs=2e-3), name


def pooled(model, images):
    return np.asarray(model.embedding_model.backbone(images)).max(axis=(1, 2))


def embedded(model, images):
    return np.asarray(model.embedding_model(images, training=False))


def test_baselines_of_the_digits():
    digits, model = load("digits"), make_untrained()
    measured, (embeddings,) = measure_baselines(model, digits, SETTINGS)
    assert list(measured) == ["raw_pixels", "pooled_features", "before"]
    images, labels = digits.test.images, digits.test.labels
    assert_measured(measured["raw_pixels"], images.reshape(len(images), -1), labels)
    assert_measured(measured["pooled_features"], pooled(model, images), labels)
    assert_measured(measured["before"], embedded(model, images), labels)
    np.testing.assert_allclose(embeddings, naive.normalize(embedded(model, images)), atol=1e-5)
    values = {round(measured[name]["map_at_r"], 3) for name in measured}
    assert len(values) == 3
    assert (measured["before"]["steps"], measured["before"]["seconds"]) == (0, 0)


def test_queries_are_searched_in_their_gallery(generator):
    images = generator.uniform(size=(60, 8, 8, 1)).astype("float32")
    labels = np.arange(60) % 6
    images += labels[:, None, None, None] / 20
    queries, gallery = (
        LabeledImages(images[rows], labels[rows]) for rows in (slice(20), slice(20, 60))
    )
    benchmark = Benchmark(train=queries, test=queries, gallery=gallery)
    model = make_untrained()
    measured, before = measure_baselines(model, benchmark, SETTINGS)
    assert [len(part) for part in before] == [20, 40]
    for name, embed in [
        ("raw_pixels", lambda images: images.reshape(len(images), -1)),
        ("pooled_features", lambda images: pooled(model, images)),
        ("before", lambda images: embedded(model, images)),
    ]:
        parts = embed(queries.images), queries.labels, embed(gallery.images), gallery.labels
        assert_measured(measured[name], *parts)


def test_pixels_of_large_images_are_no_baseline(generator, monkeypatch):
    labels = np.arange(8) % 2

    def measured(size, channels=3):
        images = generator.uniform(size=(8, size, size, channels)).astype("float32")
        data = LabeledImages(images, labels)
        model = make_untrained(images.shape[1:])
        baselines, _ = measure_baselines(model, Benchmark(train=data, test=data), SETTINGS)
        return list(baselines)

    assert measured(64) == ["raw_pixels", "pooled_features", "before"]
    assert measured(65) == ["pooled_features", "before"]
    # Nor are the pixels of many small images: these 8 have 4 · 64 · 3 bytes each.
    monkeypatch.setattr(baselines, "_MAX_BYTES", 8 * 4 * 64 * 3)
    assert measured(8) == ["raw_pixels", "pooled_features", "before"]
    monkeypatch.setattr(baselines, "_MAX_BYTES", 8 * 4 * 64 * 3 - 1)
    assert measured(8) == ["pooled_features", "before"]
