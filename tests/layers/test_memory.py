"""Cross-batch memory, alone and in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    small_convnet,
)
from tests import naive
from tests.models.small_models import images_and_labels, linear_model


@pytest.mark.both_backends
def test_the_ring_holds_the_last_batches(generator):
    memory = CrossBatchMemory(num_batches=3, batch_size=4, start_step=5)
    memory.build((None, 2))
    batches = generator.standard_normal((7, 4, 2)).astype("float32")
    for step, batch in enumerate(batches):
        assert bool(memory.is_ready()) == (step >= 5)
        memory.add(np.full(4, step + 1), batch)
        for kept in range(max(0, step - 2), step + 1):
            place = np.argmax(memory.labels.numpy() == kept + 1)
            np.testing.assert_array_equal(
                memory.embeddings.numpy()[place : place + 4], batches[kept]
            )


def test_the_ring_must_be_full():
    memory = CrossBatchMemory(num_batches=3, batch_size=1, start_step=0)
    memory.build((None, 2))
    ready = []
    for _ in range(4):
        ready.append(bool(memory.is_ready()))
        memory.add([0], [[0.0, 0.0]])
    assert ready == [False, False, False, True]


@pytest.mark.parametrize("loss", ["contrastive", "triplet", "multi_similarity"])
def test_the_loss_is_that_of_the_batch_and_of_the_ring(loss, generator):
    kernel = generator.standard_normal((4, 3)).astype("float32")
    memory = CrossBatchMemory(num_batches=2, batch_size=6, start_step=3)
    model = MetricLearningModel(linear_model(kernel), memory=memory)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    inputs = generator.standard_normal((5, 6, 4)).astype("float32")
    labels = generator.integers(0, 3, (5, 6))
    for step in range(5):
        history = model.fit(inputs[step], labels[step], batch_size=6, verbose=0).history
        embeddings = inputs[step].astype("float64") @ kernel
        batch_loss = naive.loss(loss, labels[step], embeddings)
        memory_loss = 0.0
        if step >= 3:
            ring = inputs[step - 2 : step].reshape(12, 4).astype("float64") @ kernel
            ring_labels = labels[step - 2 : step].reshape(12)
            memory_loss = naive.loss(loss, labels[step], embeddings, ring, ring_labels)
            assert memory_loss > 0
        assert history["batch_loss"][0] == pytest.approx(batch_loss, rel=1e-4)
        assert history["memory_loss"][0] == pytest.approx(memory_loss, rel=1e-4)
        assert history["loss"][0] == pytest.approx(batch_loss + memory_loss, rel=1e-4)


def model_with_memory(kind="plain", jit_compile=False):
    keras.utils.set_random_seed(0)
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    memory = CrossBatchMemory(num_batches=2, batch_size=10, start_step=0)
    if kind == "plain":
        model = MetricLearningModel(embedding_model, memory=memory)
    else:
        model = ChanceConstrainedModel(embedding_model, 5, 3, memory=memory)
    model.compile(keras.optimizers.Adam(0.01), loss="contrastive", jit_compile=jit_compile)
    return model


def fitted(model):
    images, labels = images_and_labels()
    history = model.fit(images, labels, batch_size=10, epochs=2, shuffle=False, verbose=0).history
    return history, model.get_weights()


def assert_same_weights(one, other, tolerance=1e-5):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first, second, atol=tolerance)


@pytest.mark.parametrize("kind", ["plain", "ccp"])
def test_xla_takes_the_same_steps(kind):
    history, weights = fitted(model_with_memory(kind))
    assert history["memory_loss"][1] > 0
    assert_same_weights(weights, fitted(model_with_memory(kind, jit_compile=True))[1], 1e-4)


def test_the_ring_is_saved(tmp_path):
    model = model_with_memory()
    fitted(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.memory.steps.numpy() == 8
    np.testing.assert_array_equal(loaded.memory.embeddings, model.memory.embeddings)
    assert_same_weights(fitted(model)[1], fitted(loaded)[1])


def test_gradients_do_not_flow_into_the_ring(generator):
    memory = CrossBatchMemory(1, 2, start_step=0)
    memory.build((None, 3))
    embeddings = tf.Variable(generator.standard_normal((2, 3)), dtype=tf.float32)
    with tf.GradientTape() as tape:
        memory.add([0, 1], embeddings)
        loss = losses.get("contrastive")(
            [1, 0], tf.zeros((2, 3)), None, memory.embeddings.value, memory.labels.value
        )
    assert tape.gradient(loss, embeddings) is None


@pytest.mark.both_backends
def test_wrong_numbers_are_named():
    for arguments, message in [
        ((0, 1), "num_batches must be at least 1; got 0"),
        ((1, 0), "batch_size must be at least 1; got 0"),
        ((1, 1, -1), "start_step must be at least 0; got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            CrossBatchMemory(*arguments)
    memory = CrossBatchMemory(2, 3)
    memory.build((None, 4))
    with pytest.raises(
        ValueError, match="for batches of 3 samples, and every batch must have as many; got 2"
    ):
        memory.add([0, 1], np.zeros((2, 4), "float32"))


def test_a_smaller_last_batch_is_named():
    model = model_with_memory()
    images, labels = images_and_labels(25)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
    with pytest.raises(ValueError, match="made for batches of 10 samples"):
        model.fit(batches, verbose=0)
