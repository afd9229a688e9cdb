"""A network that sees batches in parts takes the steps of one that sees them at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    VariationalModel,
)
from ccp_dml.models.gradient_cache import find_random_states
from tests.models.small_models import images_and_labels

SIZE = 24


def backbone(dropout=0.0, batch_norm=False, **convolution):
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(4, 3, activation="relu", **convolution)(inputs)
    if batch_norm:
        features = keras.layers.BatchNormalization()(features)
    if dropout:
        features = keras.layers.Dropout(dropout, seed=1)(features)
    return keras.Model(inputs, keras.layers.Conv2D(6, 3, activation="relu")(features))


def make_model(model_class, parts, network=None, loss="multi_similarity", **options):
    keras.utils.set_random_seed(0)
    network = network or EmbeddingModel(
        backbone(kernel_regularizer="l2", batch_norm=True), 5, freeze_batch_norm=True
    )
    if model_class is not MetricLearningModel and model_class is not VariationalModel:
        options["num_classes"] = 5
    if options.pop("memory", False):
        options["memory"] = CrossBatchMemory(2, SIZE, 0, name="memory")
    model = model_class(network, gradient_cache_parts=parts, clip_norm=None, **options)
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    return model


def weights_after(model, steps=3, **fit):
    images, labels = images_and_labels(steps * SIZE)
    history = model.fit(images, labels, batch_size=SIZE, shuffle=False, verbose=0, **fit).history
    return [np.asarray(each, "float64") for each in [*model.get_weights(), *history.values()]]


CASES = {
    "batch": (MetricLearningModel, {}),
    "proxies": (ProxyModel, {"proxies_per_class": 2, "weight_decay": 0.1}),
    "rounds and memory": (ChanceConstrainedModel, {"proxies_per_class": 2, "memory": True}),
    "sampled classes": (ProxyModel, {"proxies_per_class": 2, "sampled_classes": 1}),
    "variational": (VariationalModel, {"num_samples": 3}),
}


@pytest.fixture
def rounding():
    """How far apart rounding takes the steps: in float64 with TensorFlow, in float32 with JAX."""
    if keras.backend.backend() != "tensorflow":
        yield 1e-5
        return
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield 1e-12
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.mark.both_backends
@pytest.mark.parametrize(
    "case",
    # On JAX all models handle parts alike: one with proxies and a memory will do.
    [
        case
        if case == "rounds and memory"
        else pytest.param(case, marks=pytest.mark.both_backends(slow=True))
        for case in CASES
    ],
)
def test_steps_are_those_of_whole_batches(case, rounding):
    model_class, options = CASES[case]
    expected, found = (weights_after(make_model(model_class, parts, **options)) for parts in (1, 8))
    start = make_model(model_class, 1, **options).get_weights()
    moved = [np.abs(one - other).max() for one, other in zip(expected, start, strict=False)]
    assert max(moved) > 1e-3
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=rounding)


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}])
def test_steps_with_xla_and_without_graphs(options):
    def weights(parts):
        model = make_model(ProxyModel, parts)
        model.compile(keras.optimizers.SGD(0.1), loss="multi_similarity", **options)
        return weights_after(model)

    for one, other in zip(weights(4), weights(1), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_dropout_is_the_same_both_times():
    images, labels = images_and_labels(SIZE)

    def make(parts):
        network = EmbeddingModel(backbone(dropout=0.5), 5)
        return make_model(MetricLearningModel, parts, network, "contrastive")

    model, network = make(2), make(1).embedding_model
    # Both networks start from the same seed, and draw the masks of the parts one after the other.
    with tf.GradientTape() as tape:
        parts = [network(images[part::2], training=True) for part in range(2)]
        outputs = tf.reshape(tf.stack(parts, axis=1), (SIZE, 5))
        loss = model.loss(labels, outputs)
    variables = [variable.value for variable in network.trainable_variables]
    expected = [
        variable - 0.1 * gradient
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True)
    ]
    logs = model.fit(images, labels, batch_size=SIZE, shuffle=False, verbose=0).history
    assert logs["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    for weight, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, atol=1e-6)
    (state,) = find_random_states(network)
    (trained,) = find_random_states(model)
    np.testing.assert_array_equal(trained.numpy(), state.numpy())


def test_replicas_see_their_shares_in_parts(two_replicas):
    with two_replicas.scope():
        model = make_model(ProxyModel, 3)
    for one, other in zip(
        weights_after(model), weights_after(make_model(ProxyModel, 1)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.both_backends
def test_what_parts_would_change_is_refused():
    def fails(network):
        make_model(MetricLearningModel, 2, network)

    with pytest.raises(ValueError, match=r"needs frozen batch normalisation, but batch_norm"):
        fails(EmbeddingModel(backbone(batch_norm=True), 5))
    with pytest.raises(ValueError, match="combined with activity_regularizer, as of conv2d"):
        fails(EmbeddingModel(backbone(activity_regularizer="l2"), 5))
    with pytest.raises(
        ValueError, match="gradient_cache_parts must be a whole number of at least 1; got 0"
    ):
        make_model(MetricLearningModel, 0)
    model = make_model(MetricLearningModel, 5)
    with pytest.raises(ValueError, match="gradient_cache_parts=5 must divide the samples"):
        model.fit(*images_and_labels(SIZE), batch_size=SIZE, verbose=0)
