"""Near classes are found while a model trains, and batches are drawn from them."""

import itertools

import keras
import numpy as np
import pytest

from ccp_dml.callbacks import HardClasses, TrainingInterruptedError, TrainingState
from ccp_dml.data import LabeledImages, class_pools, training_batches
from ccp_dml.models import EmbeddingModel, MetricLearningModel
from tests.cases import slow_except

STEPS = 4


@pytest.fixture
def data(generator):
    labels = np.repeat(np.arange(12), 5)
    centers = generator.standard_normal((12, 6))
    images = centers[labels] + 0.1 * generator.standard_normal((60, 6))
    return LabeledImages(images.reshape(60, 2, 3, 1).astype("float32"), labels)


def make_model():
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((2, 3, 1)), keras.layers.Conv2D(8, 2)])
    model = MetricLearningModel(EmbeddingModel(backbone, embedding_size=4))
    model.compile(keras.optimizers.SGD(0.05), loss="contrastive")
    return model


class Recorder(keras.callbacks.Callback):
    """The neighbours after each epoch."""

    def __init__(self, hard_classes):
        super().__init__()
        self.hard_classes, self.nearest = hard_classes, []

    def on_epoch_end(self, epoch, logs=None):
        self.nearest.append(self.hard_classes.neighbors.nearest.copy())


def train(data, folder, epochs=6, stop_after=None, every=1):
    hard_classes = HardClasses(class_pools(data, 3, seed=1), STEPS, nearest=2, epochs=every)
    taken = 0

    def interrupted():
        nonlocal taken
        taken += 1
        return stop_after is not None and taken >= stop_after

    state = TrainingState(folder, [hard_classes], interrupted=interrupted)
    recorder = Recorder(hard_classes)
    model = make_model()
    state.restore(model)
    batches = training_batches(
        data,
        4,
        2,
        0,
        state.step,
        sampler="hard_classes",
        neighbors=hard_classes.neighbors,
    )
    model.fit(
        batches,
        steps_per_epoch=STEPS,
        epochs=epochs,
        initial_epoch=state.epoch,
        verbose=0,
        callbacks=[hard_classes, recorder, state],
    )
    return model, recorder


def test_near_classes_have_near_centers(data, tmp_path):
    model, recorder = train(data, tmp_path, epochs=1)
    pool = class_pools(data, 3, seed=1)(0)
    embeddings = model.predict(pool.map(lambda images, labels: images), verbose=0)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    centers = (embeddings / np.maximum(norms, 1)).reshape(3, 12, -1).mean(axis=0)
    distances = np.linalg.norm(centers[:, None] - centers, axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(recorder.nearest[0], np.argsort(distances, axis=1)[:, :2])


@pytest.mark.parametrize(
    ("stop_after", "every"),
    slow_except([(3, 2), (8, 1), (13, 2)], list(itertools.product([3, 8, 13], [1, 2]))),
)
def test_interrupted_training_resumes_bit_for_bit(data, tmp_path, stop_after, every):
    whole, recorded = train(data, tmp_path / "whole", every=every)
    with pytest.raises(TrainingInterruptedError):
        train(data, tmp_path / "parts", stop_after=stop_after, every=every)
    resumed, again = train(data, tmp_path / "parts", every=every)
    for ours, theirs in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(recorded.nearest[-1], again.nearest[-1])
    # The neighbours change; otherwise this test would prove nothing.
    assert (recorded.nearest[-1] != recorded.nearest[1]).any()


def test_a_second_training_starts_anew(data):
    hard_classes = HardClasses(class_pools(data, 3, seed=1), STEPS, nearest=2)
    batches = training_batches(
        data, 4, 2, 0, sampler="hard_classes", neighbors=hard_classes.neighbors
    )
    weights = []
    for _ in range(2):
        model = make_model()
        model.fit(batches, steps_per_epoch=STEPS, epochs=3, verbose=0, callbacks=[hard_classes])
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_epoch_of_another_length_is_named(data):
    hard_classes = HardClasses(class_pools(data, 3, seed=1), STEPS)
    batches = training_batches(
        data, 4, 2, 0, sampler="hard_classes", neighbors=hard_classes.neighbors
    )
    with pytest.raises(ValueError, match="must be that of fit, 5; got 4"):
        make_model().fit(batches, steps_per_epoch=5, verbose=0, callbacks=[hard_classes])
    with pytest.raises(ValueError, match="nearest must be a whole number of at least 1; got 0"):
        HardClasses(class_pools(data, 3, seed=1), STEPS, nearest=0)
