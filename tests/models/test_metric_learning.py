import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml import losses
from ccp_dml.models import ChanceConstrainedModel, MetricLearningModel, ProxyModel
from tests import naive
from tests.models.small_models import (
    convolutional_model,
    images_and_labels,
    linear_model,
    proxy_model,
)

pytestmark = pytest.mark.both_backends(slow=True)


def test_a_step_without_proxies_equals_the_formula(generator):
    """One step of gradient descent on a linear embedding, by finite differences in NumPy."""
    kernel = generator.standard_normal((4, 3)).astype("float32")
    inputs, labels = generator.standard_normal((8, 4)).astype("float32"), np.arange(8) % 3
    model = MetricLearningModel(
        linear_model(kernel), weight_decay=0.1, clip_norm=0.5, clip_value=0.2
    )
    model.compile(keras.optimizers.SGD(0.5), loss="contrastive")

    numeric = np.zeros(kernel.shape)
    for index in np.ndindex(kernel.shape):
        values = []
        for sign in (1, -1):
            shifted = kernel.astype("float64")
            shifted[index] += sign * 1e-6
            values.append(naive.loss("contrastive", labels, inputs @ shifted))
        numeric[index] = (values[0] - values[1]) / 2e-6
    numeric += 0.1 * kernel
    assert np.linalg.norm(numeric) > 0.5
    numeric *= 0.5 / np.linalg.norm(numeric)
    assert np.abs(numeric).max() > 0.2
    numeric = np.clip(numeric, -0.2, 0.2)

    model.fit(inputs, labels, batch_size=8, verbose=0)
    np.testing.assert_allclose(
        model.embedding_model.get_weights()[0], kernel - 0.5 * numeric, atol=1e-5
    )


@pytest.mark.parametrize("method", ["plain", "ccp"])
def test_accumulated_gradients_are_the_mean_of_those_of_the_batches(method, generator):
    images, labels = images_and_labels(24)

    def step_of(*batches, **options):
        keras.utils.set_random_seed(0)
        model = convolutional_model(method)
        model.clip_norm = model.clip_value = None
        model.compile(keras.optimizers.SGD(0.1, **options), loss="contrastive")
        before = [weight.numpy() for weight in model.trainable_variables]
        for batch in batches:
            model.train_on_batch(images[batch], labels[batch])
        return [
            weight.numpy() - old
            for weight, old in zip(model.trainable_variables, before, strict=True)
        ]

    first, second = slice(0, 10), slice(10, 24)
    accumulated = step_of(first, second, gradient_accumulation_steps=2)
    for one, other, both in zip(step_of(first), step_of(second), accumulated, strict=True):
        assert np.abs(both).max() > 0
        np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-4, atol=1e-7)


def test_weight_decay_spares_batch_normalization_and_includes_proxies():
    model = convolutional_model(batch_norm=True)
    variables = model.trainable_variables
    zeros = [ops.zeros(variable.shape) for variable in variables]
    model.clip_norm = model.clip_value = None
    for variable, gradient in zip(
        variables, model.transform_gradients(zeros, variables), strict=True
    ):
        decay = 0.0 if "batch_normalization" in variable.path else 0.01
        np.testing.assert_allclose(gradient, decay * variable.numpy(), rtol=1e-6)
    assert sum("batch_normalization" in variable.path for variable in variables) == 2
    assert any(variable is model.proxies.vectors for variable in variables)


def test_proxies_are_not_decayed_where_they_are_told_not_to_be():
    model = proxy_model("sgd", weight_decay=0.01, clip_norm=None, decay_proxies=False)
    variables = model.trainable_variables
    zeros = [ops.zeros(variable.shape) for variable in variables]
    for variable, gradient in zip(
        variables, model.transform_gradients(zeros, variables), strict=True
    ):
        decay = 0.0 if variable is model.proxies.vectors else 0.01
        np.testing.assert_allclose(gradient, decay * variable.numpy(), rtol=1e-6)
    assert any(variable is model.proxies.vectors for variable in variables)
    assert ProxyModel.from_config(model.get_config()).decay_proxies is False


@pytest.mark.parametrize("method", ["plain", "ccp"])
def test_fit_evaluate_predict_save(method, tmp_path):
    images, labels = images_and_labels()
    model = convolutional_model(method)
    history = model.fit(images, labels, batch_size=20, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    embeddings = model.predict(images, verbose=0)
    assert (np.linalg.norm(embeddings, axis=1) <= 1 + 1e-6).all()
    expected = float(losses.get("contrastive")(labels, embeddings))
    evaluated = float(model.evaluate(images, labels, batch_size=40, verbose=0))
    assert evaluated == pytest.approx(expected, rel=1e-5)
    assert set(model.evaluate(images, labels, verbose=0, return_dict=True)) == {"loss"}

    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy) is type(model)
    np.testing.assert_array_equal(copy.predict(images, verbose=0), embeddings)
    assert json.dumps(copy.get_config()) == json.dumps(model.get_config())
    for ours, theirs in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Training resumes as if it had not been interrupted.
    for trained in (model, copy):
        trained.fit(images, labels, batch_size=20, shuffle=False, verbose=0)
    np.testing.assert_array_equal(copy.predict(images, verbose=0), model.predict(images, verbose=0))


def test_compiled_metrics_are_measured():
    images, labels = images_and_labels()
    model = convolutional_model()
    model.compile(
        "adam",
        loss="triplet",
        metrics=[lambda labels, embeddings: ops.max(ops.norm(embeddings, axis=1))],
    )
    results = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert len(results) == 2
    assert all(np.isfinite(value) for value in results.values())


def test_models_whose_shape_is_unknown_are_built_by_the_first_batch():
    images, labels = images_and_labels(10)
    embedding_model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    model = ChanceConstrainedModel(embedding_model, 5, 2)
    model.compile("adam", loss="contrastive")
    assert not model.built
    model.fit(images, labels, batch_size=10, verbose=0)
    assert model.proxies.vectors.shape == (10, 4)


class RepeatedBatches(keras.utils.PyDataset):
    """The same batch again and again; endless if `length` is `None`."""

    def __init__(self, batch, length=None):
        super().__init__()
        self.batch = batch
        self.length = length

    def __getitem__(self, index):
        return self.batch

    @property
    def num_batches(self):
        return self.length


@pytest.mark.parametrize("kind", ["dataset", "generator", "endless", "finite"])
def test_keras_does_not_warn_that_it_cannot_shuffle(kind, recwarn):
    images, labels = images_and_labels(10)
    batches = {
        "dataset": tf.data.Dataset.from_tensor_slices((images, labels)).batch(10).repeat(3),
        "generator": ((images, labels) for _ in range(3)),
        "endless": RepeatedBatches((images, labels)),
        "finite": RepeatedBatches((images, labels), length=3),
    }
    convolutional_model().fit(batches[kind], steps_per_epoch=3, verbose=0)
    assert not [warning for warning in recwarn if "shuffle" in str(warning.message)]


def test_arrays_are_shuffled():
    images, labels = images_and_labels(40)
    weights = []
    for options in ({}, {"shuffle": True}, {"shuffle": False}):
        keras.utils.set_random_seed(0)
        model = convolutional_model()
        model.fit(images, labels, batch_size=10, verbose=0, **options)
        weights.append(model.embedding_model.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 1e-4


def ten_steps(model):
    batches = tf.data.Dataset.from_tensor_slices(images_and_labels(200)).batch(15)
    model.fit(batches.take(10), verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("method", ["plain", "ccp"])
def test_xla_takes_the_same_steps(method):
    model, compiled = convolutional_model(method), convolutional_model(method, jit_compile=True)
    compiled.set_weights(model.get_weights())
    for ours, theirs in zip(ten_steps(compiled), ten_steps(model), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_same_seed_gives_the_same_numbers():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        weights.append(ten_steps(convolutional_model()))
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        images, labels = images_and_labels()
        model = convolutional_model()
        history = model.fit(images, labels, batch_size=20, epochs=10, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
        keras.config.set_dtype_policy("mixed_float16")
        with pytest.raises(ValueError, match="use the policy mixed_bfloat16"):
            convolutional_model()
    finally:
        keras.config.set_dtype_policy("float32")


def test_what_training_needs_is_named(generator):
    model = MetricLearningModel(linear_model(np.ones((3, 2), "float32")))
    with pytest.raises(ValueError, match="unknown loss 'tripel'"):
        model.compile("adam", loss="tripel")
    with pytest.raises(ValueError, match="PairwiseLoss, its config or one of the names contr"):
        model.compile("adam", loss=keras.losses.MeanSquaredError())
    with pytest.raises(ValueError, match="the loss SoftTriple needs proxies: use ccp_dml"):
        model.compile("adam", loss="soft_triple")
    with pytest.raises(ValueError, match="loss_weights must be None"):
        model.compile("adam", loss="triplet", loss_weights=[5.0])
    with pytest.raises(ValueError, match=r"loss_scale_factor of the optimizer must be None; got 8"):
        model.compile(keras.optimizers.SGD(loss_scale_factor=8.0), loss="triplet")
    model.compile("adam", loss="triplet")
    inputs = generator.standard_normal((4, 3)).astype("float32")
    with pytest.raises(ValueError, match="needs labels"):
        model.fit(inputs, verbose=0)
    with pytest.raises(ValueError, match="sample_weight must be None"):
        model.fit(inputs, np.arange(4), sample_weight=np.ones(4), verbose=0)
    with pytest.raises(ValueError, match="so must class_weight"):
        model.fit(inputs, np.arange(4), class_weight={0: 2.0}, verbose=0)
    # The failed attempts to train left the weights alone.
    np.testing.assert_array_equal(model.embedding_model.get_weights()[0], np.ones((3, 2)))


def test_regularization_losses_of_the_network_count(generator):
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(2, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.5))
    model = MetricLearningModel(keras.Model(inputs, dense(inputs)), clip_norm=None, clip_value=None)
    model.compile(keras.optimizers.SGD(0.1), loss="contrastive")
    before = dense.get_weights()[0]
    # One sample has no pairs: all that is left is the regularisation.
    history = model.fit(np.ones((1, 3), "float32"), np.zeros(1), verbose=0).history
    assert history["loss"][0] == pytest.approx(0.5 * np.sum(before**2), rel=1e-5)
    np.testing.assert_allclose(dense.get_weights()[0], before * (1 - 0.1), rtol=1e-5)


def test_layers_can_be_frozen_after_the_model_is_built(generator):
    embedding_model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(6), keras.layers.Dense(3)]
    )
    model = ChanceConstrainedModel(embedding_model, 2, 2)
    model.build((None, 4))
    embedding_model.layers[0].trainable = False
    model.compile(keras.optimizers.Adam(0.1), loss="contrastive")
    frozen, trained = (layer.get_weights()[0] for layer in embedding_model.layers)
    inputs = generator.standard_normal((8, 4)).astype("float32")
    model.fit(inputs, np.arange(8) % 2, verbose=0)
    np.testing.assert_array_equal(embedding_model.layers[0].get_weights()[0], frozen)
    assert (embedding_model.layers[1].get_weights()[0] != trained).any()


def test_columns_of_labels_are_taken():
    images, labels = images_and_labels(20)
    model = convolutional_model()
    model.fit(images, labels[:, None], verbose=0)
    model.fit(images, labels, verbose=0)


def test_an_untrained_model_saves_and_loads_without_warnings(tmp_path, recwarn):
    model = convolutional_model()
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")
    assert not [warning for warning in recwarn if "optimizer" in str(warning.message)]


@pytest.mark.parametrize("as_dataset", [False, True])
def test_labels_that_are_no_numbers_of_classes_are_named(as_dataset):
    images, labels = images_and_labels()
    for wrong in (np.eye(5)[labels], np.array(list("abcde"))[labels]):
        model = proxy_model("adam")
        data = (images, wrong)
        if as_dataset:
            data = (tf.data.Dataset.from_tensor_slices(data).batch(10),)
        with pytest.raises(ValueError, match="labels must be the numbers of the classes"):
            model.fit(*data, verbose=0)
