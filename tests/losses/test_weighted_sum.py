"""Sums of losses with weights."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses, miners
from tests import naive
from tests.automatic_gradients import value_and_gradients
from tests.losses.pair_cases import EDGE_CASES, TOLERANCE, against, random_case
from tests.losses.pair_cases import values_and_gradients as of_vectors


def make():
    return losses.WeightedSum([(losses.get("contrastive"), 0.5), (losses.get("n_pair"), 2.0)])


@pytest.mark.both_backends
@pytest.mark.parametrize("against_references", [False, True])
def test_equals_the_sum_of_the_naive_losses(against_references, generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    proxies = against(references, reference_labels) if against_references else {}
    expected = 0.5 * naive.loss("contrastive", labels, embeddings, **proxies)
    expected += 2.0 * naive.loss("n_pair", labels, embeddings, **proxies)
    assert float(make()(labels, embeddings, **proxies)) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_are_finite(case):
    labels, embeddings = EDGE_CASES[case]
    value, gradients = of_vectors(make(), np.array(labels), np.array(embeddings, "float32"))
    assert np.isfinite(value)
    assert np.isfinite(gradients[0]).all()


def test_xla_agrees(generator):
    labels, embeddings, _, _ = random_case(generator)
    arguments = [tf.constant(labels), tf.constant(embeddings, "float32")]
    compiled = tf.function(make(), jit_compile=True)(*arguments)
    assert float(compiled) == pytest.approx(float(make()(*arguments)), rel=1e-5)


def make_nested():
    inner = losses.WeightedSum([(losses.get("margin"), 1.0), (losses.get("margin", nu=0.5), 1.0)])
    return losses.WeightedSum([(losses.get("margin"), 0.5), (inner, 2.0)])


@pytest.mark.both_backends
def test_what_the_losses_learn_is_told_apart(generator):
    labels, embeddings, _, _ = random_case(generator)
    loss = make_nested()
    weights = loss.initial_weights(4)
    names = ["boundaries_1", "boundaries_1_2", "boundaries_2_2"]
    assert list(weights) == names
    weights = {name: np.full(4, 0.3 + 0.1 * place) for place, name in enumerate(names)}
    value, (gradients,) = value_and_gradients(
        lambda weights: loss(labels, embeddings, **weights), weights
    )
    parts = [
        naive.loss("margin", labels, embeddings, beta=weights[name][labels], nu=nu)
        for name, nu in zip(names, (0.0, 0.0, 0.5), strict=True)
    ]
    assert float(value) == pytest.approx(np.dot([0.5, 2.0, 2.0], parts), rel=TOLERANCE)
    assert all(np.abs(gradient).sum() > 0 for gradient in gradients.values())
    with pytest.raises(TypeError, match="learns boundaries_3"):
        loss(labels, embeddings, boundaries_3=weights["boundaries_1"])


@pytest.mark.both_backends
def test_miners_choose_for_all_losses(generator):
    labels, embeddings, _, _ = random_case(generator)
    both = losses.WeightedSum([(losses.Triplet(), 1.0), (losses.Triplet(distance="cosine"), 1.0)])
    for miner in ("semi_hard", "hardest_pairs"):
        mined = losses.Mined(both, miner)
        parts = [losses.Mined(loss, miner)(labels, embeddings) for loss in both.losses]
        assert float(mined(labels, embeddings)) == pytest.approx(float(sum(parts)), rel=1e-6)
    with pytest.raises(ValueError, match="chooses triplets"):
        losses.Mined(make(), miners.get("semi_hard"))


def test_config_round_trip():
    mined = losses.get("mined", loss="triplet", miner="hard")
    loss = losses.WeightedSum([(make_nested(), 0.25), (mined, 1)], normalize=False)
    config = json.loads(json.dumps(losses.serialize(loss)))
    for copy in (losses.get(config), keras.saving.deserialize_keras_object(config)):
        assert type(copy) is losses.WeightedSum
        assert copy.get_config() == loss.get_config()
    by_name = losses.get("weighted_sum", terms=[("triplet", 1.0), (losses.NPair(), 0.5)])
    assert [type(each) for each in by_name.losses] == [losses.Triplet, losses.NPair]


def test_what_sums_need():
    soft_triple = losses.get("soft_triple", proxies_per_class=2)
    loss = losses.WeightedSum([(soft_triple, 1.0), (losses.Triplet(), 1.0)])
    assert loss.needs_references
    assert loss.is_proxy_loss
    assert loss.proxies_per_class == 2
    assert not make().is_proxy_loss
    assert make().proxies_per_class is None


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], r"at least one loss and its weight; got \[\]"),
        ([("triplet", 1.0)], "adds PairwiseLosses; got 'triplet'"),
        ([(losses.Triplet(), -1.0)], "weight of Triplet must be at least 0; got -1"),
        ([(losses.Triplet(), float("inf"))], "weight of Triplet must be finite; got inf"),
        (
            [(losses.Triplet(), 1.0), (losses.NPair(normalize=False), 1.0)],
            "must agree in normalize; got True for Triplet, False for NPair",
        ),
        (
            [(losses.get("soft_triple"), 1.0), (losses.get("sub_center_arcface"), 1.0)],
            "agree in proxies_per_class; got 10 for SoftTriple, 3 for SubCenterArcFace",
        ),
    ],
)
def test_errors_say_what_is_wrong(terms, message):
    with pytest.raises(ValueError, match=message):
        losses.WeightedSum(terms)
