"""Cross-batch memory, alone and in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml import losses
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    small_convnet,
)
from tests import naive
from tests.cases import slow_except
from tests.models.small_models import images_and_labels, linear_model


@pytest.mark.both_backends
def test_the_ring_holds_the_last_batches(generator):
    memory = CrossBatchMemory(num_batches=3, batch_size=4)
    memory.build((None, 2))
    batches = generator.standard_normal((7, 4, 2)).astype("float32")
    for step, batch in enumerate(batches):
        memory.add(np.full(4, step + 1), batch)
        for kept in range(max(0, step - 2), step + 1):
            place = np.argmax(memory.labels.numpy() == kept + 1)
            np.testing.assert_array_equal(
                memory.embeddings.numpy()[place : place + 4], batches[kept]
            )


@pytest.mark.both_backends
@pytest.mark.parametrize(
    ("start_step", "includes_batch", "first_step"),
    [(0, True, 3), (2, True, 5), (0, False, 4), (2, False, 4), (5, False, 6)],
)
def test_the_ring_is_used_when_it_is_full_and_later(start_step, includes_batch, first_step):
    memory = CrossBatchMemory(3, 1, start_step, includes_batch)
    memory.build((None, 2))
    ready = []
    for _ in range(7):
        if not includes_batch:
            ready.append(bool(memory.is_ready()))
        memory.add([0], [[0.0, 0.0]])
        if includes_batch:
            ready.append(bool(memory.is_ready()))
    assert memory.first_step == first_step
    assert ready == [False] * (first_step - 1) + [True] * (8 - first_step)


@pytest.mark.both_backends
@pytest.mark.parametrize("loss", ["cosine_contrastive", "multi_similarity"])
def test_steps_are_those_of_the_authors_code(loss, golden):
    """SGD trains the embeddings themselves, so that their steps show the gradients."""
    reference = {
        name: golden("xbm.npz")[f"{loss}/{name}"]
        for name in ("embeddings", "labels", "losses", "gradients")
    }
    memory = CrossBatchMemory(num_batches=4, batch_size=8, start_step=3)
    table = keras.layers.Embedding(8, 6, name="table")
    inputs = keras.Input((), dtype="int32")
    model = MetricLearningModel(keras.Model(inputs, table(inputs)), memory=memory)
    options = {
        "cosine_contrastive": {"margin": 0.4},
        "multi_similarity": {"alpha": 2.0, "beta": 50.0, "base": 0.5},
    }
    model.compile(keras.optimizers.SGD(1.0), loss=losses.get(loss, **options[loss]))
    for step, embeddings in enumerate(reference["embeddings"]):
        table.embeddings.assign(embeddings)
        labels = reference["labels"][step]
        history = model.fit(np.arange(8), labels, batch_size=8, shuffle=False, verbose=0).history
        assert history["loss"][0] == pytest.approx(reference["losses"][step], rel=1e-6)
        gradients = embeddings - ops.convert_to_numpy(table.embeddings)
        np.testing.assert_allclose(gradients, reference["gradients"][step], atol=1e-6)


@pytest.mark.parametrize("includes_batch", [True, False])
@pytest.mark.parametrize("loss", ["contrastive", "triplet", "multi_similarity"])
def test_the_loss_is_that_of_the_batch_and_of_the_ring(loss, includes_batch, generator):
    kernel = generator.standard_normal((4, 3)).astype("float32")
    memory = CrossBatchMemory(2, 6, start_step=3, includes_batch=includes_batch)
    model = MetricLearningModel(linear_model(kernel), memory=memory)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    inputs = generator.standard_normal((6, 6, 4)).astype("float32")
    labels = generator.integers(0, 3, (6, 6))
    for step in range(6):
        history = model.fit(inputs[step], labels[step], batch_size=6, verbose=0).history
        embeddings = inputs[step].astype("float64") @ kernel
        batch_loss = naive.loss(loss, labels[step], embeddings)
        memory_loss = 0.0
        if step >= (4 if includes_batch else 3):
            end = step + includes_batch
            ring = inputs[end - 2 : end].reshape(12, 4).astype("float64") @ kernel
            ring_labels = labels[end - 2 : end].reshape(12)
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


@pytest.mark.parametrize("kind", slow_except(["ccp"], ["plain", "ccp"]))
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


def test_the_end_of_a_data_set_of_unknown_length_is_no_step():
    model = model_with_memory()
    batches = tf.data.Dataset.from_tensor_slices(images_and_labels(40)).batch(10)
    model.fit(batches.filter(lambda images, labels: True), epochs=3, verbose=0)
    assert int(model.memory.steps) == 3 * 4


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
        ((0, 1), "num_batches must be a whole number of at least 1; got 0"),
        ((1, 0), "batch_size must be a whole number of at least 1; got 0"),
        ((1, 1, -1), "start_step must be a whole number of at least 0; got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            CrossBatchMemory(*arguments)
    memory = CrossBatchMemory(2, 3)
    memory.build((None, 4))
    with pytest.raises(
        ValueError, match="for batches of 3 samples, so every batch must have that many; got 2"
    ):
        memory.add([0, 1], np.zeros((2, 4), "float32"))


def test_a_smaller_last_batch_is_named():
    model = model_with_memory()
    images, labels = images_and_labels(25)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
    with pytest.raises(ValueError, match="made for batches of 10 samples"):
        model.fit(batches, verbose=0)
