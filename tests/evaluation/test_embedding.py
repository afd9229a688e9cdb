import gc
import logging
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.evaluation import embed, embedding_spread
from ccp_dml.models import EmbeddingModel, small_convnet
from tests import naive


def test_embeddings_are_normalized(generator):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    inputs = (generator.standard_normal((40, 3)) + np.arange(40)[:, None] % 4).astype("float32")
    expected = naive.normalize(model.predict(inputs, verbose=0))
    np.testing.assert_allclose(embed(model, inputs), expected, rtol=1e-5)


def test_spread():
    assert embedding_spread(np.ones((5, 3))) == 0
    assert embedding_spread(np.array([[0.0, 0.0], [0.0, 2.0]])) == 1


def test_several_models_are_traced_once_each(generator):
    inputs = generator.standard_normal((7, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(inputs).batch(5)
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        for _ in range(6):
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            embed(model, batches)
            assert model.predict_function.experimental_get_tracing_count() == 1
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [message for message in messages if "retracing" in message]


class Count(keras.callbacks.Callback):
    """Records the calls that `model.predict` makes to its callbacks."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_predict_begin(self, logs=None):
        self.calls.append(("begin", self.params["steps"]))

    def on_predict_batch_end(self, batch, logs=None):
        self.calls.append(batch)

    def on_predict_end(self, logs=None):
        self.calls.append("end")


@pytest.mark.parametrize("as_dataset", [False, True])
def test_replicas_embed_what_one_device_does(as_dataset, generator, two_replicas):
    images = generator.uniform(size=(13, 8, 8, 1)).astype("float32")
    inputs = tf.data.Dataset.from_tensor_slices(images).batch(3) if as_dataset else images
    found = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4)
        count = Count()
        found.append([embed(model, inputs, 3, [count]), count.calls])
    (expected, calls), (by_replicas, calls_by_replicas) = found
    np.testing.assert_array_equal(by_replicas, expected)
    assert calls_by_replicas == calls == [("begin", 5), 0, 1, 2, 3, 4, "end"]


def test_replicas_see_new_weights_and_models_go(two_replicas, generator):
    images = generator.uniform(size=(4, 8, 8, 1)).astype("float32")
    with two_replicas.scope():
        model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4)
    embed(model, images)
    # So small that normalisation leaves the embeddings as they are.
    model.projection.kernel.assign(model.projection.kernel / 100)
    np.testing.assert_allclose(embed(model, images), model(images), rtol=1e-5)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
