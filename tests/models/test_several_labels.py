"""Models that are trained with several labels per sample."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from ccp_dml.callbacks import RetrievalValidation
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    VariationalModel,
    small_convnet,
)
from tests import naive
from tests.models.small_models import images_and_labels, linear_model

LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]])


def naive_loss(labels, embeddings, *references):
    return naive.contrastive(naive.pairs(labels, embeddings, *references, same_class=np.dot))


def compared_by_label(**params):
    return losses.get("contrastive", same_class=losses.have_common_label, **params)


@pytest.mark.both_backends
@pytest.mark.parametrize("includes_batch", [True, False, None])
def test_losses_are_those_of_pairs_with_a_common_label(includes_batch, generator):
    kernel = generator.standard_normal((4, 3)).astype("float32")
    memory = None
    if includes_batch is not None:
        memory = CrossBatchMemory(2, 6, 0, includes_batch, label_size=3)
    model = MetricLearningModel(linear_model(kernel), memory=memory)
    model.compile(keras.optimizers.SGD(0.0), loss=compared_by_label())
    inputs = generator.standard_normal((4, 6, 4)).astype("float32")
    labels = np.stack([generator.permutation(LABELS) for _ in range(4)])
    embeddings = inputs.astype("float64") @ kernel
    for step in range(4):
        history = model.fit(inputs[step], labels[step], batch_size=6, verbose=0).history
        right = naive_loss(labels[step], embeddings[step])
        evaluated = model.evaluate(inputs[step], labels[step], batch_size=6, verbose=0)
        assert float(evaluated) == pytest.approx(right, rel=1e-5)
        if memory is not None and step >= (1 if includes_batch else 2):
            last = slice(step - 1, step + 1) if includes_batch else slice(step - 2, step)
            ring = embeddings[last].reshape(12, 3), labels[last].reshape(12, 3)
            right += naive_loss(labels[step], embeddings[step], *ring)
        assert history["loss"][0] == pytest.approx(right, rel=1e-5)


def one_hot(labels):
    return np.eye(5, dtype="int64")[labels]


def train(model_class, same_class, encode=np.asarray, jit_compile=False, **options):
    """The weights, except for the labels in the memory, after steps with the encoded labels."""
    keras.utils.set_random_seed(0)
    network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    images, labels = images_and_labels()
    labels = encode(labels)
    if options.pop("memory", False):
        size = labels.shape[1] if labels.ndim == 2 else None
        options["memory"] = CrossBatchMemory(2, 10, 0, label_size=size)
    model = model_class(network, **options)
    loss = losses.get("contrastive", same_class=same_class)
    model.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=jit_compile)
    model.fit(images, labels, batch_size=10, epochs=2, shuffle=False, verbose=0)
    model.evaluate(images, labels, batch_size=20, verbose=0)
    held_labels = None if model.memory is None else model.memory.labels
    return [each.numpy() for each in model.variables if each is not held_labels]


CASES = {
    "memory": (MetricLearningModel, {"memory": True}),
    "gradient cache": (MetricLearningModel, {"gradient_cache_parts": 2, "memory": True}),
    "variational": (VariationalModel, {"num_samples": 2, "memory": True}),
    "xla": (MetricLearningModel, {"memory": True, "jit_compile": True}),
}


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize(
    "case",
    ["memory", *(pytest.param(each, marks=pytest.mark.slow) for each in CASES if each != "memory")],
)
def test_rows_with_one_label_are_classes(case):
    model_class, options = CASES[case]
    expected = train(model_class, None, **options)
    found = train(model_class, losses.have_common_label, one_hot, **options)
    for weight, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(weight, right, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
def have_equal_parity(labels, reference_labels):
    return labels[:, None] % 2 == reference_labels[None, :] % 2


@pytest.mark.parametrize("same_class", [None, have_equal_parity])
def test_a_column_is_the_class_of_each_sample(same_class):
    expected = train(MetricLearningModel, same_class)
    found = train(MetricLearningModel, same_class, lambda labels: labels[:, None])
    for weight, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(weight, right)


def test_replicas_compare_the_labels_of_all(two_replicas):
    options = {"encode": one_hot, "same_class": losses.have_common_label, "memory": True}
    expected = train(MetricLearningModel, **options)
    with two_replicas.scope():
        found = train(MetricLearningModel, **options)
    for weight, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(weight, right, atol=1e-5)


@pytest.mark.both_backends(slow=True)
def test_the_labels_in_the_memory_are_saved(tmp_path):
    network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model = MetricLearningModel(network, memory=CrossBatchMemory(1, 6, 0, label_size=3))
    model.compile("sgd", loss=compared_by_label())
    images, _ = images_and_labels(6)
    batches = tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(6)
    model.fit(batches, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.memory.labels, LABELS)
    assert loaded.loss.same_class is losses.have_common_label


def fails_in_one_line(message, function, *arguments, **options):
    with pytest.raises(ValueError, match=message) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_what_needs_one_class_per_sample_says_so(as_dataset):
    images, _ = images_and_labels(6)
    network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    batch = images, LABELS
    if as_dataset:
        batch = (tf.data.Dataset.from_tensor_slices(batch).batch(6, drop_remainder=True),)
    message = r"labels must be .*\(n, 1\).* got int64 of shape .*, 3\) .*need a loss with"
    for model, loss in [
        (MetricLearningModel(network), losses.get("contrastive")),
        (MetricLearningModel(network, num_classes=5), compared_by_label()),
        (ChanceConstrainedModel(network, 5, 2), compared_by_label()),
    ]:
        model.compile("sgd", loss=loss)
        fails_in_one_line(message, model.fit, *batch, verbose=0)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize(("size", "labels"), [(None, LABELS), (3, LABELS[:, 0]), (2, LABELS)])
def test_the_memory_holds_labels_of_one_shape(size, labels):
    images, _ = images_and_labels(6)
    network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    for includes_batch in (True, False):
        memory = CrossBatchMemory(1, 6, 0, includes_batch, label_size=size)
        model = MetricLearningModel(network, memory=memory)
        model.compile("sgd", loss=compared_by_label())
        message = rf"label_size={size}, for labels .*; got \(6"
        fails_in_one_line(message, model.fit, images, labels, batch_size=6, verbose=0)


def test_errors_of_what_measures_and_remembers():
    fails_in_one_line(
        r"one class per sample, .* shape \(6, 3\)", RetrievalValidation, (np.zeros((6, 4)), LABELS)
    )
    for label_size in (1, 2.5):
        message = f"label_size must be a whole number of at least 2; got {label_size}"
        fails_in_one_line(message, CrossBatchMemory, 1, 6, label_size=label_size)
    unknown = tf.data.Dataset.from_generator(
        lambda: [(np.zeros((6, 8, 8, 1)), LABELS)], output_types=("float32", "int32")
    )
    network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model = MetricLearningModel(network)
    model.compile("sgd", loss=compared_by_label())
    fails_in_one_line(r"labels must be \(n,\) or \(n, k\)", model.fit, unknown, verbose=0)
