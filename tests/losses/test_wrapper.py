"""What all losses that wrap another loss promise."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml import losses, miners
from tests import naive
from tests.automatic_gradients import value_and_gradients
from tests.cases import slow_except
from tests.losses.pair_cases import (
    EDGE_CASES,
    TOLERANCE,
    against,
    finite_differences,
    random_case,
    values_and_gradients,
)

WRAPPED = {
    "multi_level_distance": lambda: losses.get("multi_level_distance", loss="contrastive"),
    "multi_level_distance of soft_triple": lambda: losses.get(
        "multi_level_distance", loss=losses.get("soft_triple", proxies_per_class=1)
    ),
    "virtual_softmax": lambda: losses.get("virtual_softmax"),
    "virtual_softmax of soft_triple": lambda: losses.get(
        "virtual_softmax", loss=losses.get("soft_triple", proxies_per_class=1)
    ),
    "proxy_synthesis": lambda: losses.get("proxy_synthesis"),
    "proxy_synthesis of proxy_anchor": lambda: losses.get("proxy_synthesis", loss="proxy_anchor"),
    "proxy_synthesis of margin": lambda: losses.get("proxy_synthesis", loss="margin", ratio=0.5),
    "hard triplet": lambda: losses.Mined(losses.get("triplet"), miners.get("hardest_pairs")),
    "semi-hard contrastive": lambda: losses.Mined(
        losses.get("contrastive"), miners.get("semi_hard_pairs")
    ),
    "distance-weighted margin": lambda: losses.Mined(
        losses.get("margin"), miners.get("distance_weighted")
    ),
    "hard within virtual_softmax": lambda: losses.get(
        "virtual_softmax", loss=losses.Mined(losses.get("proxy_nca"), miners.HardestPairMiner())
    ),
}
DETERMINISTIC = ["multi_level_distance", "virtual_softmax", "hard triplet", "semi-hard contrastive"]


# Casting vectors to float32, and gradients back, only matters near the limits of half precision.
IN_HALF_PRECISION = ["zero vectors", "huge vectors", "tiny vectors"]


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize(
    ("case", "dtype"),
    slow_except(
        [
            *((case, "float32") for case in EDGE_CASES),
            *((case, "float16") for case in IN_HALF_PRECISION),
        ],
        list(itertools.product(EDGE_CASES, ["float32", "float16"])),
    ),
)
@pytest.mark.parametrize("name", WRAPPED)
def test_edge_cases_are_finite(name, case, dtype):
    labels, embeddings = EDGE_CASES[case]
    labels, loss = np.array(labels), WRAPPED[name]()
    embeddings = ops.cast(np.clip(embeddings, -6e4, 6e4), dtype)
    for references in [{}, against(embeddings, labels)]:
        if loss.needs_references and not references:
            continue
        value, gradients = values_and_gradients(loss, labels, embeddings, **references)
        assert np.isfinite(value)
        assert all(np.isfinite(gradient.astype("float64")).all() for gradient in gradients)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", WRAPPED)
def test_nothing_to_compare_is_zero(name):
    loss = WRAPPED[name]()
    none, some = np.zeros(0, "int32"), np.zeros(2, "int32")
    assert float(loss(some, np.zeros((2, 3)), **against(np.zeros((0, 3)), none))) == 0.0
    if not loss.needs_references:
        assert float(loss(none, np.zeros((0, 3)))) == 0.0


@pytest.mark.parametrize("name", [name for name in WRAPPED if " of " not in name])
def test_xla_and_graphs_of_unknown_batch_size_agree(name, generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    loss = WRAPPED[name]()
    arguments = [tf.constant(labels), tf.constant(embeddings, "float32")]
    proxies = against(tf.constant(references, "float32"), tf.constant(reference_labels))
    value, gradients = values_and_gradients(
        lambda *all_of, **named: loss(*all_of, **named, seed=7), *arguments, **proxies
    )

    def with_gradient(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings, **proxies, seed=7)
        return value, tape.gradient(value, embeddings)

    signature = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 5], tf.float32)]
    for function in (
        tf.function(with_gradient, jit_compile=True),
        tf.function(with_gradient, input_signature=signature),
    ):
        compiled, gradient = function(*arguments)
        assert float(compiled) == pytest.approx(value, rel=1e-4)
        np.testing.assert_allclose(gradient, gradients[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", WRAPPED)
def test_config_round_trip(name):
    loss = WRAPPED[name]()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize("name", ["multi_level_distance", "hard triplet"])
def test_compiled_models_save_and_load(name, tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    model.compile("sgd", loss=WRAPPED[name]())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()


@pytest.mark.parametrize(
    "name", slow_except(["semi-hard contrastive"], ["virtual_softmax", "semi-hard contrastive"])
)
def test_two_replicas_train_any_keras_model_as_one(name, two_replicas, generator):
    inputs, labels = generator.standard_normal((40, 6)).astype("float32"), np.arange(40) % 3

    def make():
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
        model.compile(keras.optimizers.SGD(0.1), loss=WRAPPED[name]())
        return model

    single = make()
    with two_replicas.scope():
        distributed = make()
    distributed.set_weights(single.get_weights())
    for model in (single, distributed):
        model.fit(inputs, labels, batch_size=20, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(distributed.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["proxy_synthesis", "distance-weighted margin"])
def test_replicas_draw_the_same(name, two_replicas, generator):
    labels, embeddings, _, _ = random_case(generator)
    loss = WRAPPED[name]()
    for seed in (None, 3):

        def compute_loss(seed=seed):
            half = 6 * tf.distribute.get_replica_context().replica_id_in_sync_group
            rows = half + tf.range(6)
            return loss(tf.gather(labels, rows), tf.gather(embeddings, rows), seed=seed)

        values = two_replicas.experimental_local_results(two_replicas.run(compute_loss))
        whole = float(loss(labels, embeddings, seed=seed))
        assert [2 * float(value) for value in values] == pytest.approx([whole, whole], rel=1e-12)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("name", ["proxy_synthesis", "distance-weighted margin"])
def test_seeds_decide_what_is_drawn(name, generator):
    labels, embeddings, references, reference_labels = random_case(generator, n=20, r=30)
    proxies, loss = against(references, reference_labels), WRAPPED[name]()
    values = [float(loss(labels, embeddings, **proxies, seed=seed)) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    default = float(loss(labels, embeddings, **proxies))
    assert default == float(loss(labels, embeddings, **proxies))
    assert float(loss(labels, embeddings + 1e-6, **proxies)) != pytest.approx(default, rel=1e-4)


def expected_of(name, pairs):
    """The naive value of a loss in `WRAPPED`."""
    pairs = list(pairs)
    if name == "multi_level_distance":
        return naive.contrastive(pairs) + 0.1 * naive.multi_level_distance(pairs)
    if name == "virtual_softmax":
        return naive.normalized_softmax(naive.with_virtual_references(pairs))
    if name == "hard triplet":
        return naive.triplet(naive.hard(pairs))
    return naive.contrastive(naive.semi_hard(pairs))


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("against_references", [False, True])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_equals_the_naive_loss(name, against_references, generator):
    case = random_case(generator)
    labels, embeddings, references, reference_labels = case
    proxies = against(references, reference_labels) if against_references else {}
    value = WRAPPED[name]()(labels, embeddings, **proxies)
    expected = expected_of(name, naive.pairs(labels, embeddings, **proxies))
    assert float(value) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.both_backends
@pytest.mark.parametrize("name", ["virtual_softmax", "hard triplet", "semi-hard contrastive"])
def test_gradients_equal_finite_differences_of_the_naive_loss(name, generator):
    labels, embeddings, references, reference_labels = random_case(generator, n=6, r=7, d=3)
    _, gradients = values_and_gradients(
        WRAPPED[name](), labels, embeddings, **against(references, reference_labels)
    )
    for which, gradient in enumerate(gradients):

        def naive_loss(vectors, which=which):
            both = [vectors, references] if which == 0 else [embeddings, vectors]
            return expected_of(name, naive.pairs(labels, *both, reference_labels))

        numeric = finite_differences(naive_loss, [embeddings, references][which])
        np.testing.assert_allclose(gradient, numeric, atol=1e-6, rtol=1e-6)


@pytest.mark.both_backends(slow=True)
def test_wrappers_hand_on_what_is_learned(generator):
    labels, embeddings, _, _ = random_case(generator)
    margin = losses.get("margin")
    loss = losses.get("multi_level_distance", loss=losses.Mined(margin, miners.SemiHardPairMiner()))
    weights = loss.initial_weights(4)
    assert sorted(weights) == ["boundaries", "levels"]
    value, (gradients,) = value_and_gradients(
        lambda weights: loss(labels, embeddings, **weights), weights
    )
    assert float(value) == pytest.approx(float(loss(labels, embeddings)))
    assert all(np.abs(gradient).sum() > 0 for gradient in gradients.values())
    with pytest.raises(TypeError, match="boundries"):
        margin(labels, embeddings, boundries=weights["boundaries"])


def test_what_losses_need():
    soft_triple = losses.get("soft_triple", proxies_per_class=4.0)
    wrapped = losses.Mined(
        losses.get("multi_level_distance", loss=soft_triple), miners.HardestPairMiner()
    )
    for loss in (soft_triple, wrapped):
        assert (loss.needs_references, loss.proxies_per_class) == (True, 4)
        with pytest.raises(ValueError, match="pass references and reference_labels"):
            loss(np.zeros(2), np.zeros((2, 3)))
    assert not losses.get("proxy_anchor").needs_references
    assert losses.get("proxy_anchor").proxies_per_class is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: losses.get("proxy_synthesis", loss="soft_triple"),
            "SoftTriple needs 10 per class",
        ),
        (
            lambda: losses.get("virtual_softmax", loss="soft_triple"),
            "SoftTriple needs 10 per class",
        ),
        (lambda: losses.VirtualSoftmax(3), "wraps a PairwiseLoss; got 3"),
        (lambda: losses.get("virtual_softmax", loss=3), "loss must be a PairwiseLoss, .*; got 3"),
        (
            lambda: losses.get("virtual_softmax", alpha=3),
            "it takes normalize, same_class, name, loss",
        ),
        (lambda: losses.get("virtual_softmax", loss="softmax"), "unknown loss 'softmax'"),
        (lambda: losses.get("proxy_synthesis", ratio=1.5), "at most 1; got 1.5"),
        (lambda: losses.get("proxy_synthesis", alpha=0), "alpha must be above 0; got 0"),
        (lambda: losses.get("multi_level_distance", weight=-1), "at least 0; got -1"),
        (lambda: losses.Mined(losses.get("triplet"), 3), "miner must be a Miner, .*; got 3"),
    ],
)
def test_errors_say_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()
