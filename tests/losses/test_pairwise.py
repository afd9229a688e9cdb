"""What all losses promise."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml import losses
from tests import naive
from tests.cases import slow_except
from tests.losses.pair_cases import EDGE_CASES, TOLERANCE, random_case, values_and_gradients

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
# The reference implementation's parameter names, and ours.
OUR_NAMES = {
    "pos_margin": "positive_margin",
    "neg_margin": "negative_margin",
    "alpha_margin": "alpha",
    "beta_margin": "beta",
    "lambda_margin": "base",
    "delta_margin": "margin",
    "alpha_scale": "alpha",
}
OUR_NAMES_IN = {
    "proxy_nca": {"lambda_softmax": "temperature"},
    "soft_triple": {"lambda_softmax": "scale", "gamma_entropy": "gamma", "tau_reg": "tau"},
}
CASES = json.loads((GOLDEN / "losses.json").read_text())
NAMES = sorted(losses.LOSSES)
PARAMS = {name: {"proxies_per_class": 3} for name in ("soft_triple", "sub_center_arcface")}


def make(name, **params):
    return losses.get(name, **{**PARAMS.get(name, {}), **params})


NAMES_WITHIN_BATCH = [name for name in NAMES if not make(name).needs_references]
# Keras calls all losses alike, and replicas share all alike: one of pairs and one of ranks will do.
OF_TWO_KINDS = ["contrastive", "smooth_ap"]
COMPILED_AMONG_SAMPLES = ["contrastive", "triplet", "lifted_structure", "proxy_anchor"]


# Vectors are cast to float32 before the loss, and gradients back after it. This matters only near
# the limits of half precision; bfloat16 has the range of float32.
HALF_PRECISION = [
    ("huge vectors", "float16"),
    ("tiny vectors", "float16"),
    ("zero vectors", "float16"),
    ("huge vectors", "bfloat16"),
]


def test_the_golden_cases_are_there():
    assert len(CASES) == 50


def every_golden_case():
    # JAX compiles each case; those of a loss in the same mode differ only in their numbers.
    last = {(case["loss"], case["mode"]): case for case in CASES}
    for case in CASES:
        is_last = case is last[case["loss"], case["mode"]]
        mark = pytest.mark.both_backends(slow=not is_last)
        yield pytest.param(case, marks=mark, id=case["name"])


@pytest.mark.parametrize("case", list(every_golden_case()))
def test_golden(case, golden):
    arrays, name = golden("losses.npz"), case["name"]
    names = {**OUR_NAMES, **OUR_NAMES_IN.get(case["loss"], {})}
    params = {names.get(key, key): value for key, value in case["params"].items()}
    if case["loss"] == "proxy_nca":
        assert params.pop("margin") == 0
    if case["loss"] == "soft_triple":
        params["proxies_per_class"] = case["proxies_per_class"]
    references = {}
    if case["mode"] == "proxy":
        references = {
            "references": arrays[f"{name}/proxies"],
            "reference_labels": arrays[f"{name}/proxy_labels"],
        }
    value, gradients = values_and_gradients(
        losses.get(case["loss"], **params),
        arrays[f"{name}/labels"],
        arrays[f"{name}/embeddings"],
        **references,
    )
    assert value == pytest.approx(case["value"], rel=1e-5)
    for gradient, of in zip(gradients, ["embeddings", "proxies"], strict=False):
        if f"{name}/{of}_gradient" not in arrays:
            assert (case["loss"], of) == ("soft_triple", "proxies")
            continue
        expected = arrays[f"{name}/{of}_gradient"]
        assert np.linalg.norm(gradient - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("against_references", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_naive_loss(name, against_references, generator):
    loss, params = make(name), PARAMS.get(name, {})
    labels, embeddings, references, reference_labels = random_case(
        generator, per_class=loss.proxies_per_class
    )
    against = {}
    if against_references:
        against = {"references": references, "reference_labels": reference_labels}
    elif loss.needs_references:
        pytest.skip("needs references")
    value = loss(labels, embeddings, **against)
    if keras.backend.backend() == "tensorflow":
        assert value.dtype == "float64"
    expected = naive.loss(name, labels, embeddings, **against, **params)
    assert float(value) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences_of_the_naive_loss(name, generator):
    loss, params = make(name), PARAMS.get(name, {})
    labels, embeddings, references, reference_labels = random_case(
        generator, n=6, r=7, d=3, per_class=loss.proxies_per_class
    )
    against = {"references": references, "reference_labels": reference_labels}
    _, gradients = values_and_gradients(loss, labels, embeddings, **against)

    fixed = {}
    if name in naive.WITH_FIXED_WEIGHTS:
        fixed["weights_of"] = list(naive.pairs(labels, embeddings, references, reference_labels))

    def naive_loss(anchors, others):
        return naive.loss(name, labels, anchors, others, reference_labels, **params, **fixed)

    step = 1e-6
    for which, gradient in enumerate(gradients):
        numeric = np.zeros_like(gradient)
        for index in np.ndindex(gradient.shape):
            shifted = []
            for sign in (1, -1):
                both = [embeddings.copy(), references.copy()]
                both[which][index] += sign * step
                shifted.append(naive_loss(*both))
            numeric[index] = (shifted[0] - shifted[1]) / (2 * step)
        np.testing.assert_allclose(
            gradient, numeric, atol=max(1e-6, TOLERANCE), rtol=max(1e-6, TOLERANCE)
        )


def every_edge_case():
    for case in EDGE_CASES:
        for dtype in ("float32", "float16", "bfloat16"):
            # JAX compiles operations again for each shape and dtype.
            is_quick_on_jax = dtype == "float32" and case == "no positive pair"
            marks = [pytest.mark.both_backends(slow=not is_quick_on_jax)]
            if dtype != "float32" and (case, dtype) not in HALF_PRECISION:
                marks.append(pytest.mark.slow)
            yield pytest.param(case, dtype, marks=marks)


@pytest.mark.parametrize(("case", "dtype"), list(every_edge_case()))
@pytest.mark.parametrize("name", NAMES)
def test_edge_cases_are_finite_and_right(name, case, dtype):
    labels, embeddings = EDGE_CASES[case]
    labels = np.array(labels)
    embeddings = ops.cast(np.clip(embeddings, -6e4, 6e4), dtype)
    # The references are the samples, and some classes may have just one.
    params = {"proxies_per_class": 1} if make(name).proxies_per_class else {}
    loss = losses.get(name, **params)
    exact = ops.convert_to_numpy(embeddings).astype("float64")
    cases = [{"references": embeddings, "reference_labels": labels}]
    if not loss.needs_references:
        cases.append({})
    for against in cases:
        value, gradients = values_and_gradients(loss, labels, embeddings, **against)
        assert all(np.isfinite(gradient.astype("float64")).all() for gradient in gradients)
        exact_against = {**against, "references": exact} if against else {}
        expected = naive.loss(name, labels, exact, **exact_against, **params)
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", NAMES_WITHIN_BATCH)
def test_empty_batch_is_zero(name):
    value = losses.get(name)(np.zeros(0, "int32"), np.zeros((0, 4), "float32"))
    assert float(value) == 0.0


@pytest.mark.parametrize("name", NAMES_WITHIN_BATCH)
def test_batch_that_is_empty_only_when_it_runs_is_zero(name):
    compute = tf.function(
        losses.get(name),
        input_signature=[tf.TensorSpec([None], "int32"), tf.TensorSpec([None, 4])],
    )
    assert float(compute(np.zeros(0, "int32"), np.zeros((0, 4), "float32"))) == 0.0


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES_WITHIN_BATCH)
def test_half_precision_is_computed_in_float32(name, dtype, generator):
    labels, embeddings, _, _ = random_case(generator)
    rounded = ops.cast(embeddings, dtype)
    value = losses.get(name)(labels, rounded)
    assert value.dtype == "float32"
    expected = naive.loss(name, labels, ops.convert_to_numpy(rounded).astype("float64"))
    assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", NAMES)
def test_order_of_samples_and_references_does_not_matter(name, generator):
    loss = make(name)
    labels, embeddings, references, reference_labels = random_case(
        generator, per_class=loss.proxies_per_class
    )
    value = loss(labels, embeddings, references=references, reference_labels=reference_labels)
    samples, others = generator.permutation(len(labels)), generator.permutation(len(references))
    shuffled = loss(
        labels[samples],
        embeddings[samples],
        references=references[others],
        reference_labels=reference_labels[others],
    )
    assert float(shuffled) == pytest.approx(float(value), rel=TOLERANCE)


@pytest.mark.parametrize("name", NAMES_WITHIN_BATCH)
def test_normalization_is_that_of_the_method(name, generator):
    labels, embeddings, _, _ = random_case(generator)
    value = float(losses.get(name)(labels, embeddings))
    unnormalized = losses.get(name, normalize=False)
    assert float(unnormalized(labels, naive.normalize(embeddings))) == pytest.approx(value)
    assert float(unnormalized(labels, embeddings)) != pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("name", slow_except(OF_TWO_KINDS, NAMES_WITHIN_BATCH))
def test_trains_any_keras_model_with_integer_labels(name, generator):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.01), loss=losses.get(name))
    inputs, labels = generator.standard_normal((24, 6)).astype("float32"), np.arange(24) % 3
    expected = float(losses.get(name)(labels, model.predict(inputs, verbose=0)))
    evaluated = float(model.evaluate(inputs, labels, batch_size=24, verbose=0))
    assert evaluated == pytest.approx(expected, rel=1e-5)
    history = model.fit(inputs, labels, batch_size=24, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("name", NAMES_WITHIN_BATCH)
def test_columns_of_labels_are_taken(name, generator):
    labels, embeddings, _, _ = random_case(generator)
    loss = losses.get(name)
    assert float(loss(labels[:, None], embeddings)) == float(loss(labels, embeddings))


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name):
    loss = make(name, normalize=False)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("name", "against_references"),
    # Samples are compared with each other by the same code, except for masks all losses share.
    slow_except(
        [*((name, True) for name in NAMES), *((name, False) for name in COMPILED_AMONG_SAMPLES)],
        [*((name, True) for name in NAMES), *((name, False) for name in NAMES_WITHIN_BATCH)],
    ),
)
def test_xla_agrees(name, against_references, generator):
    loss = make(name)
    labels, embeddings, references, reference_labels = random_case(
        generator, per_class=loss.proxies_per_class
    )
    arguments = [tf.constant(labels), tf.constant(embeddings, "float32")]
    if against_references:
        arguments += [tf.constant(references, "float32"), tf.constant(reference_labels)]

    def value_and_gradients(labels, embeddings, references=None, reference_labels=None):
        vectors = [embeddings, references] if against_references else [embeddings]
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            value = loss(
                labels, embeddings, references=references, reference_labels=reference_labels
            )
        return value, tape.gradient(value, vectors)

    value, gradients = tf.function(value_and_gradients, jit_compile=True)(*arguments)
    expected, expected_gradients = value_and_gradients(*arguments)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.both_backends
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros((3, 2, 1))}, r"must be \(n, d\)"),
        ({"labels": np.zeros(2)}, "got 3 and 2"),
        ({"references": np.zeros((4, 2))}, "given together"),
        (
            {"references": np.zeros((4, 5)), "reference_labels": np.zeros(4)},
            "size 5 cannot be compared with embeddings of size 2",
        ),
        ({"sample_weight": np.ones(3)}, "sample_weight must be None"),
    ],
)
def test_wrong_shapes_are_named(arguments, message):
    arguments = {"labels": np.zeros(3), "embeddings": np.zeros((3, 2)), **arguments}
    with pytest.raises(ValueError, match=message):
        losses.get("contrastive")(**arguments)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", NAMES_WITHIN_BATCH)
def test_close_vectors_are_not_taken_for_equal(name, generator):
    centers = naive.normalize(generator.standard_normal((8, 128)))
    twins = centers + 1e-3 * naive.normalize(generator.standard_normal((8, 128)))
    embeddings = np.concatenate([centers, twins]).astype("float32") * np.float32(0.9)
    labels = np.tile(np.arange(8), 2)
    value, gradients = values_and_gradients(losses.get(name), labels, embeddings)
    assert value == pytest.approx(naive.loss(name, labels, embeddings), rel=1e-4, abs=1e-6)
    expected, exact = values_and_gradients(losses.get(name), labels, embeddings.astype("float64"))
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(gradients[0], exact[0], atol=1e-4)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", NAMES)
def test_no_references_is_zero(name):
    none = {"references": np.zeros((0, 3)), "reference_labels": np.zeros(0, "int32")}
    assert float(losses.get(name)(np.zeros(2, "int32"), np.zeros((2, 3)), **none)) == 0.0


@pytest.mark.parametrize(
    ("dtype", "reference_dtype", "far"),
    [
        ("uint8", "int64", 256),
        ("int8", "uint8", 200),
        ("int64", "int32", 2**32),
        ("int32", "int64", 2**32),
        ("float32", "int32", 2**20),
    ],
)
def test_labels_of_another_dtype_stay_different(dtype, reference_dtype, far):
    """`far` has the same last bits as 0, or does not fit into one of the dtypes."""
    embeddings = np.eye(3, dtype="float32")
    fits = np.array(far).astype(reference_dtype) == far
    labels = np.array([0, 1, 1 if fits else far]).astype(dtype)
    reference_labels = np.array([0, 1, far if fits else 1]).astype(reference_dtype)
    value = losses.get("normalized_softmax")(
        labels, embeddings, references=embeddings, reference_labels=reference_labels
    )
    # The same labels, as numbers that every dtype holds.
    names = {number: index for index, number in enumerate([0, 1, far])}
    expected = naive.loss(
        "normalized_softmax",
        np.array([names[int(label)] for label in labels]),
        embeddings,
        embeddings,
        np.array([names[int(label)] for label in reference_labels]),
    )
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", slow_except(OF_TWO_KINDS, NAMES_WITHIN_BATCH))
def test_two_replicas_train_any_keras_model_as_one(name, two_replicas, generator):
    inputs = generator.standard_normal((60, 6)).astype("float32")
    labels = np.arange(60) % 3

    def make():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
        # Larger steps amplify what is rounded differently.
        model.compile(keras.optimizers.SGD(0.01), loss=losses.get(name))
        return model

    single = make()
    with two_replicas.scope():
        distributed = make()
    distributed.set_weights(single.get_weights())
    for model in (single, distributed):
        model.fit(inputs, labels, batch_size=20, epochs=4, shuffle=False, verbose=0)
    for ours, theirs in zip(distributed.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_in_the_scope_of_a_strategy_the_loss_is_whole(two_replicas, generator):
    labels, embeddings, _, _ = random_case(generator)
    loss = losses.get("contrastive")
    with two_replicas.scope():
        inside = float(loss(labels, embeddings))
    assert inside == float(loss(labels, embeddings))


@pytest.mark.parametrize(
    ("make_loss", "message"),
    [
        (lambda: losses.get("proxy_anchor", alpha=-1), "alpha must be above 0; got -1"),
        (lambda: losses.get("proxy_nca", temperature=0), "temperature must be above 0; got 0"),
        (lambda: losses.get("n_pair", temperature=0), "temperature must be above 0; got 0"),
        (
            lambda: losses.get("soft_triple", proxies_per_class=2.5),
            "whole number of at least 1; got 2.5",
        ),
        (lambda: losses.get("soft_triple", gamma=0), "gamma must be above 0; got 0"),
    ],
)
def test_errors_say_what_is_allowed(make_loss, message):
    with pytest.raises(ValueError, match=message):
        make_loss()
