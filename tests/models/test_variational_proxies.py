"""Deep variational metric learning on top of other models: proxies, rounds, a memory."""

import itertools
import json

import keras
import numpy as np
import pytest
from keras import ops

from ccp_dml import backend
from ccp_dml.callbacks import AlternatingProjections, RetrievalValidation, VariationalPhases
from ccp_dml.data import LabeledImages, class_pools
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    EmbeddingModel,
    VariationalChanceConstrainedModel,
    VariationalModel,
    VariationalProxyModel,
    small_convnet,
)
from tests import naive
from tests.cases import slow_except
from tests.models.small_models import images_and_labels

pytestmark = pytest.mark.both_backends(slow=True)

NUM_SAMPLES = 3
PROXY_WEIGHTS = {"proxy_loss_weight": 0.7, "batch_loss_weight": 0.3}
MODELS = {
    "plain": (VariationalModel, {}),
    "proxies": (VariationalProxyModel, {"num_classes": 5, "proxies_per_class": 2, **PROXY_WEIGHTS}),
    "ccp": (
        VariationalChanceConstrainedModel,
        {"num_classes": 5, "proxies_per_class": 2, **PROXY_WEIGHTS},
    ),
}


def variational_model(kind, memory_batches=0, optimizer=None, loss="multi_similarity"):
    keras.utils.set_random_seed(0)
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model_class, arguments = MODELS[kind]
    memory = CrossBatchMemory(memory_batches, 10, start_step=0) if memory_batches else None
    model = model_class(
        embedding_model,
        num_samples=NUM_SAMPLES,
        hidden_units=16,
        seed=7,
        memory=memory,
        **arguments,
    )
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss=loss)
    # The heads start from zeros, which would hide mistakes.
    for head in (model.spread_mean, model.spread_log_variance):
        head.kernel.assign(keras.random.normal(head.kernel.shape, stddev=0.3))
    return model


def linear(layer, inputs):
    weights = [weight.astype("float64") for weight in layer.get_weights()]
    return inputs @ weights[0] + (weights[1] if len(weights) > 1 else 0)


def invariant_and_synthesized(model, images, step):
    """z_I, and the ẑ of a step as rows."""
    features = np.asarray(model.embedding_model.features(images), "float64")
    invariant = linear(model.embedding_model.projection, features)
    mean = linear(model.spread_mean, features)
    deviation = np.exp(linear(model.spread_log_variance, features) / 2)
    noise = ops.convert_to_numpy(backend.normal((len(images), NUM_SAMPLES, 6), (7, step)))
    synthesized = (invariant + mean)[:, None] + deviation[:, None] * noise
    return invariant, synthesized.reshape(-1, 6)


def fit(model, images, labels, epochs=1, callbacks=()):
    return model.fit(
        images,
        labels,
        batch_size=10,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    ).history


@pytest.mark.parametrize(
    ("kind", "memory_batches"),
    # The first step with a memory, while it is not full, is like a step without one.
    slow_except(
        [("plain", 0), ("plain", 2), ("proxies", 2), ("ccp", 2)],
        list(itertools.product(MODELS, [0, 2])),
    ),
)
def test_both_losses_are_those_of_the_base_model(kind, memory_batches):
    loss = "multi_similarity"
    model = variational_model(kind, memory_batches, keras.optimizers.SGD(0.0), loss)
    images, labels = images_and_labels()
    rows = [np.arange(start, start + 10) for start in range(0, 40, 10)]
    for step, batch in enumerate(rows):
        history = fit(model, images[batch], labels[batch])
        invariant, synthesized = invariant_and_synthesized(model, images[batch], step)
        for name, embeddings, classes in [
            ("invariant", invariant, labels[batch]),
            ("synthesized", synthesized, np.repeat(labels[batch], NUM_SAMPLES)),
        ]:
            expected = naive.loss(loss, classes, embeddings)
            if memory_batches and step + 1 >= memory_batches:
                # The ring holds z_I, whatever it is compared with.
                remembered = np.concatenate(rows[step + 1 - memory_batches : step + 1])
                ring, _ = invariant_and_synthesized(model, images[remembered], step)
                expected += naive.loss(loss, classes, embeddings, ring, labels[remembered])
            if kind != "plain":
                proxies = model.proxies.vectors.numpy().astype("float64")
                against = naive.loss(loss, classes, embeddings, proxies, model.proxies.labels)
                expected = 0.7 * against + 0.3 * expected
            assert history[name][0] == pytest.approx(expected, rel=1e-4)


def test_a_loss_of_proxies_is_against_them_alone():
    model = variational_model("proxies", optimizer=keras.optimizers.SGD(0.0), loss="proxy_anchor")
    model.proxy_loss_weight, model.batch_loss_weight = 1.0, 0.0
    images, labels = images_and_labels(10)
    history = fit(model, images, labels)
    invariant, synthesized = invariant_and_synthesized(model, images, step=0)
    proxies = model.proxies.vectors.numpy().astype("float64")
    for name, embeddings, classes in [
        ("invariant", invariant, labels),
        ("synthesized", synthesized, np.repeat(labels, NUM_SAMPLES)),
    ]:
        expected = naive.loss("proxy_anchor", classes, embeddings, proxies, model.proxies.labels)
        assert history[name][0] == pytest.approx(expected, rel=1e-4)


def test_the_ring_holds_invariant_embeddings_before_normalisation():
    model = variational_model("plain", memory_batches=2, optimizer=keras.optimizers.SGD(0.0))
    # Longer than 1, so that normalisation would show.
    projection = model.embedding_model.projection
    projection.kernel.assign(50 * projection.kernel.numpy())
    images, labels = images_and_labels()
    fit(model, images, labels)
    invariant, _ = invariant_and_synthesized(model, images[20:], step=0)
    assert np.linalg.norm(invariant, axis=1).min() > 1
    np.testing.assert_allclose(model.memory.embeddings, invariant, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(model.memory.labels, labels[20:])


@pytest.mark.parametrize(
    ("kind", "memory_batches"),
    slow_except([("proxies", 0), ("ccp", 2)], [("plain", 2), ("proxies", 0), ("ccp", 2)]),
)
def test_they_are_saved(kind, memory_batches, tmp_path):
    model = variational_model(kind, memory_batches)
    images, labels = images_and_labels()
    fit(model, images, labels, epochs=2, callbacks=[VariationalPhases(1)])
    if kind == "ccp":
        model.proximal_weight.assign(0.1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Training resumes with the same noise, moments, ring and proxies.
    for each in (model, loaded):
        fit(each, images, labels)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("memory_batches", slow_except([2], [0, 2]))
def test_rounds_choose_proxies_among_invariant_embeddings(memory_batches):
    model = variational_model("ccp", memory_batches)
    # The same weights on every backend, because how soon rounds end depends on them.
    generator = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(0.3 * generator.standard_normal(weight.shape))
    images, labels = images_and_labels()
    data = LabeledImages(images, labels)
    ends, at_ends = [], []

    def on_round_end(end):
        ends.append(end)
        at_ends.append(model.embedding_model.predict(images, verbose=0))

    rounds = AlternatingProjections(
        class_pools(data, 4, seed=0), patience=1, on_round_end=on_round_end
    )
    history = fit(
        model,
        images,
        labels,
        epochs=8,
        callbacks=[RetrievalValidation((images, labels)), rounds],
    )
    assert rounds.round == len(ends) >= 2
    assert history["round"][-1] >= 1
    assert np.isfinite(history["loss"]).all()
    for end, embeddings in zip(ends, at_ends, strict=True):
        for label, proxies in enumerate(end.next_proxies):
            of_class = embeddings[labels == label]
            distances = np.linalg.norm(proxies[:, None] - of_class[None], axis=-1)
            np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-5)


def test_the_proximal_term_holds_the_network_only():
    model = variational_model("ccp")
    model.set_reference_point([variable.numpy() + 1 for variable in model.proximal_variables])
    model.proximal_weight.assign(0.5)
    variables = model.trainable_variables
    model.clip_norm = model.clip_value = None
    zeros = [ops.zeros(variable.shape) for variable in variables]
    network = set(map(id, model.embedding_model.trainable_variables))
    moved = model.transform_gradients(zeros, variables)
    for variable, gradient in zip(variables, moved, strict=True):
        expected = -0.5 if id(variable) in network else 0.0
        np.testing.assert_allclose(gradient, np.full(variable.shape, expected), atol=1e-6)
    # Two heads and two layers of the decoder, with biases, and the proxies.
    assert len(variables) - len(network) == 9
