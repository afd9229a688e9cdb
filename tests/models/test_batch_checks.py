"""What cannot work is reported in one line, as soon as it is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import EmbeddingModel, MetricLearningModel, ProxyModel, small_convnet
from tests.cases import slow_except
from tests.models.small_models import convolutional_model, images_and_labels

pytestmark = pytest.mark.both_backends(slow=True)


def proxy_model(jit_compile=False, **arguments):
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model = ProxyModel(embedding_model, num_classes=5, **arguments)
    model.compile("sgd", loss="contrastive", jit_compile=jit_compile)
    return model


def fails_before_training(model, message, *fit_arguments, **options):
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as error:
        model.fit(*fit_arguments, verbose=0, **options)
    assert "\n" not in str(error.value)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("wrong", [-1, 5])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_labels_out_of_range(jit_compile, wrong, as_dataset):
    images, labels = images_and_labels(20)
    labels[3] = wrong
    model = proxy_model(jit_compile)
    message = "training labels must be 0…4; see ccp_dml.data.contiguous"
    if as_dataset:
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
        fails_before_training(model, message, batches)
    else:
        fails_before_training(model, f"{message}; got {wrong}", images, labels, batch_size=10)


class Batches(keras.utils.PyDataset):
    """Batches of five samples."""

    def __init__(self, images, labels):
        super().__init__(workers=2)
        self.images, self.labels = images, labels
        self.has_ended = False

    def __len__(self):
        return len(self.labels) // 5

    def __getitem__(self, index):
        rows = slice(5 * index, 5 * index + 5)
        return self.images[rows], self.labels[rows]

    def on_epoch_end(self):
        self.has_ended = True


@pytest.mark.parametrize("as_generator", [False, True])
def test_labels_out_of_range_in_a_later_batch(as_generator):
    images, labels = images_and_labels(20)
    batches = Batches(images, labels)
    model = proxy_model(jit_compile=True)

    def fit():
        generator = (batches[index] for index in range(len(batches)))
        model.fit(generator if as_generator else batches, shuffle=False, verbose=0)

    fit()
    assert batches.has_ended != as_generator
    labels[18] = 5
    with pytest.raises(ValueError, match="training labels must be 0…4; see"):
        fit()


@pytest.mark.parametrize(
    ("as_dataset", "jit_compile"),
    slow_except(
        [(False, False), (True, True)], [(False, False), (True, True), (True, False), (False, True)]
    ),
)
def test_a_batch_smaller_than_its_slot_in_the_memory(as_dataset, jit_compile):
    images, labels = images_and_labels(18)
    memory = CrossBatchMemory(num_batches=2, batch_size=10)
    model = proxy_model(jit_compile, memory=memory)
    message = "made for batches of 10 samples, so every batch must have that many"
    if as_dataset:
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
        with pytest.raises(ValueError, match=message):
            model.fit(batches, verbose=0)
    else:
        fails_before_training(model, f"{message}; got 8", images, labels, batch_size=10)
        # A first batch that fits is trained on, if it is the only one.
        model.fit(images, labels, batch_size=10, steps_per_epoch=1, verbose=0)


@pytest.mark.parametrize("jit_compile", slow_except([False], [False, True]))
def test_a_remainder_that_a_later_epoch_reads(jit_compile):
    images, labels = images_and_labels(28)
    model = proxy_model(jit_compile, memory=CrossBatchMemory(num_batches=2, batch_size=10))
    message = "every batch must have that many; got 8"
    options = {"batch_size": 10, "steps_per_epoch": 1}
    fails_before_training(model, message, images, labels, epochs=3, **options)
    fails_before_training(model, message, images, labels, 10, 3, steps_per_epoch=1)
    model.fit(images, labels, epochs=5, initial_epoch=3, verbose=0, **options)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_labels_of_few_bits(as_dataset):
    images, _ = images_and_labels(20)
    labels = np.arange(20, dtype="uint8") + 200
    losses = []
    for dtype in ("uint8", "int32"):
        keras.utils.set_random_seed(0)
        embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
        model = ProxyModel(embedding_model, num_classes=500)
        model.compile("sgd", loss="normalized_softmax")
        data = (images, labels.astype(dtype))
        if as_dataset:
            data = (tf.data.Dataset.from_tensor_slices(data).batch(20),)
        losses += model.fit(*data, shuffle=False, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("method", ["proxies", "memory"])
@pytest.mark.parametrize("kind", ["arrays", "dataset", "batches"])
def test_labels_beyond_int32(method, kind):
    images, labels = images_and_labels(20)
    labels = labels.astype("int64") + 2**32
    if method == "proxies":
        model, message = proxy_model(), "training labels must be 0…4"
    else:
        network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
        model = MetricLearningModel(network, memory=CrossBatchMemory(2, 10))
        model.compile("sgd", loss="contrastive", jit_compile=False)
        message = "the memory holds labels in int32"
    data = {
        "arrays": (images, labels, 10),
        "dataset": (tf.data.Dataset.from_tensor_slices((images, labels)).batch(10),),
        "batches": (((images[rows], labels[rows]) for rows in (slice(10), slice(10, 20))),),
    }
    fails_before_training(model, message, *data[kind])


def test_what_is_right_is_trained_on_under_xla():
    images, labels = images_and_labels(20)
    weights = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = proxy_model(jit_compile, memory=CrossBatchMemory(2, 10, start_step=0))
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
        model.fit(batches, epochs=3, verbose=0)
        weights.append(model.trainable_variables[0].numpy())
    np.testing.assert_allclose(*weights, atol=1e-5)


@pytest.mark.parametrize("static", [False, True])
def test_a_batch_smaller_than_the_replicas(static, two_replicas):
    with two_replicas.scope():
        model = proxy_model()
    images, labels = images_and_labels(5)
    message = "a batch must have a sample for each of the 2 replicas"
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(1, drop_remainder=static)
    fails_before_training(model, message, batches)
    fails_before_training(model, f"{message}; got 1", images, labels, batch_size=1)
    fails_before_training(model, f"{message}; got 1", images, labels, batch_size=4)


def test_steps_per_execution_with_several_replicas(two_replicas):
    with two_replicas.scope():
        model = convolutional_model()
        with pytest.raises(ValueError, match=r"must be 1 with several.*; got 5 with 2 replicas"):
            model.compile("sgd", loss="triplet", steps_per_execution=5)


def test_accumulated_gradients_with_several_replicas(two_replicas):
    with two_replicas.scope():
        model = convolutional_model()
        optimizer = keras.optimizers.SGD(gradient_accumulation_steps=3)
        with pytest.raises(ValueError, match=r"must be None with several.*; got 3 with 2 replicas"):
            model.compile(optimizer, loss="triplet")


def test_xla_with_several_replicas(two_replicas, monkeypatch):
    with two_replicas.scope():
        model = convolutional_model()
        with pytest.raises(ValueError, match="XLA cannot compile the steps of several replicas"):
            model.compile("sgd", loss="triplet", jit_compile=True)
        # Keras might choose this where there are GPUs.
        monkeypatch.setattr(type(model), "_resolve_auto_jit_compile", lambda self: True)
        model.compile("sgd", loss="triplet")
    assert not model.jit_compile


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_weights_in_half_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = MetricLearningModel(EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4))
    finally:
        keras.config.set_dtype_policy(before)
    with pytest.raises(ValueError, match=f"weights, is {policy}, .* use the policy mixed_bfloat16"):
        model.compile("sgd", loss="triplet")
