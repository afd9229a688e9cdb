"""Each form of distances on what is hard for it, whichever one this hardware would choose."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml import backend, losses
from ccp_dml.losses.distance_forms import DIFFERENCES, EXPANSION
from ccp_dml.losses.distances import euclidean_distances, squared_distances
from ccp_dml.models import ChanceConstrainedModel
from tests import naive
from tests.automatic_gradients import value_and_gradients
from tests.losses.pair_cases import values_and_gradients

FORMS = pytest.mark.parametrize("form", [EXPANSION, DIFFERENCES], ids=["expansion", "differences"])


@pytest.fixture
def float64():
    """Lets JAX compute in float64, as TensorFlow does whenever asked to."""
    if keras.backend.backend() == "jax":
        import jax

        # Not `jax.enable_x64`, which the JAX of Python 3.10 does not have.
        jax.config.update("jax_enable_x64", True)
        yield
        jax.config.update("jax_enable_x64", False)
    else:
        yield


@pytest.fixture
def on_accelerators(monkeypatch):
    monkeypatch.setattr(backend, "has_fast_float64", lambda: False)


def near_and_equal(generator, apart, offset=0.0, n=12, d=128):
    """Unit vectors, shifted by `offset`, and twins of them: some equal, the others `apart` away."""
    vectors = naive.normalize(generator.standard_normal((n, d)))
    steps = apart * naive.normalize(generator.standard_normal((n, d)))
    steps[: n // 3] = 0
    vectors = (vectors + offset).astype("float32")
    return vectors, (vectors + steps).astype("float32")


@pytest.mark.both_backends
@pytest.mark.usefixtures("float64")
@FORMS
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("apart", [1e-3, 1e-5])
def test_twins_are_told_apart_and_equal_ones_are_not(form, apart, offset, generator):
    vectors, twins = near_and_equal(generator, apart, offset)
    squared = ops.convert_to_numpy(form.squared(vectors, twins))
    differences = vectors[:, None].astype("float64") - twins[None]
    exact = np.sum(differences**2, axis=2)
    assert ((squared == 0) == (exact == 0)).all()
    # The expansion adds up squared lengths in float64: allow for 16 roundings of these.
    roundings = 16 * np.finfo("float64").eps * np.sum(np.square(vectors), axis=1).max()
    np.testing.assert_allclose(squared, exact, rtol=2e-6, atol=roundings)


@pytest.mark.both_backends
@pytest.mark.usefixtures("float64")
@FORMS
def test_what_is_not_a_number_is_at_no_distance(form):
    vectors = np.array([[np.nan, 0.0], [1.0, 0.0]], "float32")
    assert np.isnan(form.squared(vectors, vectors)).tolist() == [[True, True], [True, False]]


@pytest.mark.both_backends
@pytest.mark.usefixtures("float64")
@FORMS
@pytest.mark.parametrize("shape", [(), (3,)])
def test_weighted_offsets_are_sums_of_differences(form, shape, generator):
    weights, vectors, references = (
        generator.standard_normal((*shape, *axes)).astype("float32")
        for axes in [(5, 7), (5, 4), (7, 4)]
    )
    differences = vectors[..., :, None, :] - references[..., None, :, :]
    to_vectors, to_references = form.weighted_offsets(weights, vectors, references)
    weighted = weights[..., None] * differences
    np.testing.assert_allclose(to_vectors, weighted.sum(axis=-2), atol=1e-5)
    np.testing.assert_allclose(to_references, -weighted.sum(axis=-3), atol=1e-5)


@pytest.mark.both_backends
@pytest.mark.usefixtures("float64")
def test_directions_to_many_references_are_as_exact_as_float32_allows(generator):
    vectors, twins = near_and_equal(generator, apart=1e-3)
    others = naive.normalize(generator.standard_normal((8192, 128))).astype("float32")
    references = np.concatenate([twins[4:], others])

    def add_nearest(vectors):
        return ops.sum(ops.diagonal(euclidean_distances(vectors, references)[4:]))

    found = ops.convert_to_numpy(value_and_gradients(add_nearest, vectors)[1][0])[4:]
    differences = vectors[4:].astype("float64") - twins[4:]
    exact = differences / np.linalg.norm(differences, axis=1, keepdims=True)
    assert np.linalg.norm(found - exact, axis=1).max() < 1e-4


@pytest.mark.both_backends
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("function", [squared_distances, euclidean_distances])
def test_gradients_on_accelerators_are_those_on_cpus(function, monkeypatch, generator):
    vectors, twins = near_and_equal(generator, apart=1e-3)
    weights = generator.standard_normal((12, 12)).astype("float32")
    gradients = []
    for is_on_cpu in (True, False):
        monkeypatch.setattr(backend, "has_fast_float64", lambda here=is_on_cpu: here)
        _, slopes = value_and_gradients(
            lambda *sets: ops.sum(weights * function(*sets)), vectors, twins
        )
        gradients.append(slopes)
    for on_cpu, on_accelerator in zip(*gradients, strict=True):
        np.testing.assert_allclose(on_accelerator, on_cpu, atol=1e-5)


@pytest.mark.both_backends
@pytest.mark.usefixtures("float64")
def test_the_gradient_of_what_the_gradient_goes_into(generator):
    vectors, references = (generator.standard_normal((size, 3)) for size in (4, 5))

    def slopes(distances):
        def add_cubes(vectors):
            return ops.sum(distances(vectors, references) ** 3)

        def squared_norm(vectors):
            _, (slopes,) = value_and_gradients(add_cubes, vectors)
            return ops.sum(slopes**2)

        return value_and_gradients(squared_norm, vectors)[1][0]

    def plain(vectors, references):
        return ops.sqrt(ops.sum(ops.square(vectors[:, None] - references[None]), axis=2))

    np.testing.assert_allclose(slopes(euclidean_distances), slopes(plain), rtol=1e-8)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_losses_on_accelerators_are_those_on_cpus(name, on_accelerators, generator):
    takes_several = "proxies_per_class" in losses.parameters(name)
    loss = losses.get(name, **({"proxies_per_class": 2} if takes_several else {}))
    labels, reference_labels = generator.integers(0, 6, 8), np.tile(np.arange(6), 2)
    embeddings, references = (
        generator.standard_normal((n, 16)).astype("float32") / 4 for n in (8, 12)
    )
    against = {"references": references, "reference_labels": reference_labels}
    value, gradients = values_and_gradients(loss, labels, embeddings, **against)
    exact = {**against, "references": references.astype("float64")}
    expected, exact_gradients = values_and_gradients(
        loss, labels, embeddings.astype("float64"), **exact
    )
    assert value == pytest.approx(expected, rel=1e-5)
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(gradient, exact_gradient, atol=1e-5)


def dtypes_in_the_step(model, batch):
    """Which of f64 and f32 occur in a training step, including the functions it calls."""
    images, labels = batch

    @tf.function(jit_compile=True)
    def step(images, labels):
        return model.train_step((images, labels))

    text = step.experimental_get_compiler_ir(images, labels)(stage="hlo")
    return {dtype for dtype in ("f64", "f32") if f"{dtype}[" in text}


@pytest.mark.parametrize(("num_classes", "expected"), [(5, {"f32"}), (3_000, {"f32"})])
def test_no_float64_in_a_step_on_accelerators(num_classes, expected, on_accelerators, generator):
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(128)])
    model = ChanceConstrainedModel(network, num_classes, proxies_per_class=4)
    model.compile(keras.optimizers.Adam(1e-3), loss="contrastive", jit_compile=True)
    images = tf.constant(generator.standard_normal((8, 6)), tf.float32)
    labels = tf.constant(np.arange(8) % 4)
    assert dtypes_in_the_step(model, (images, labels)) == expected
