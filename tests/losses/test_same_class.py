"""Data with several labels per sample, through a function that compares labels."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import TOLERANCE, against, values_and_gradients

# The last has no label, and so none in common even with itself.
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [0, 0, 0]])


@keras.saving.register_keras_serializable("tests")
def share_superclass(labels, reference_labels):
    return ops.equal(labels[:, None] // 10, reference_labels[None, :] // 10)


def pairs_of(embeddings, *references):
    return naive.pairs(LABELS, embeddings, *references, same_class=np.dot)


NAMES = ("contrastive", "triplet", "multi_similarity", "n_pair", "normalized_softmax", "circle")


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("against_references", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_pairs_are_those_with_a_common_label(name, against_references, generator):
    embeddings, references = generator.standard_normal((2, 7, 4)) / 2
    reference_labels = LABELS[::-1].copy()
    proxies = against(references, reference_labels) if against_references else {}
    loss = losses.get(name, same_class=losses.have_common_label)
    right = naive.LOSSES[name](pairs_of(embeddings, *proxies.values()))
    value, gradients = values_and_gradients(loss, LABELS, embeddings, **proxies)
    assert value == pytest.approx(right, rel=TOLERANCE)
    assert all(np.abs(gradient).sum() > 0 for gradient in gradients)


@pytest.mark.both_backends
def test_a_function_of_class_numbers(generator):
    labels = np.array([10, 11, 20, 21, 22, 30])
    embeddings = generator.standard_normal((6, 4)) / 2
    value = losses.get("triplet", same_class=share_superclass)(labels, embeddings)
    right = naive.loss("triplet", labels // 10, embeddings)
    assert float(value) == pytest.approx(right, rel=TOLERANCE)


@pytest.mark.both_backends
def test_a_batch_among_its_references_is_not_its_own_negative(generator):
    embeddings = generator.standard_normal((7, 4)) / 2
    references = np.concatenate([generator.standard_normal((3, 4)), embeddings])
    reference_labels = np.concatenate([LABELS[:3], LABELS])
    loss = losses.get("contrastive", same_class=losses.have_common_label)
    proxies = against(references, reference_labels)
    value = float(loss(LABELS, embeddings, **proxies, anchors_start=3))
    anchors = list(pairs_of(embeddings, references, reference_labels))
    anchor, _, negatives = anchors[6]
    anchors[6] = (anchor, [anchor], negatives[:9])
    assert value == pytest.approx(naive.contrastive(anchors), rel=TOLERANCE)


@pytest.mark.parametrize("wrap", [
    lambda loss: losses.Mined(loss, "hardest_pairs"),
    lambda loss: losses.get("multi_level_distance", loss=loss),
    lambda loss: losses.WeightedSum([(loss, 1.0), (loss, 2.0)]),
])  # fmt: skip
def test_losses_around_it_compare_as_it_does(wrap, generator):
    embeddings = generator.standard_normal((7, 4))
    loss = wrap(losses.get("margin", same_class=losses.have_common_label))
    assert loss.same_class is losses.have_common_label
    assert np.isfinite(float(loss(LABELS, embeddings)))
    config = json.loads(json.dumps(losses.serialize(loss)))
    for copy in (losses.get(config), keras.saving.deserialize_keras_object(config)):
        assert copy.same_class is losses.have_common_label
        assert copy.get_config() == loss.get_config()


def test_trains_any_keras_model_and_is_saved_with_it(generator, tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    loss = losses.get("multi_similarity", same_class=losses.have_common_label)
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    inputs, labels = generator.standard_normal((28, 6)).astype("float32"), np.tile(LABELS, (4, 1))
    history = model.fit(inputs, labels, batch_size=28, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.same_class is losses.have_common_label


@pytest.mark.both_backends
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (losses.get("contrastive", reduction="per_class"), "per_class needs one class number per"),
        (
            losses.get("proxy_synthesis", loss="contrastive"),
            "ProxySynthesis needs one class number per sample",
        ),
        (losses.get("soft_triple", proxies_per_class=1), "SoftTriple needs one class number per"),
        (losses.get("margin"), r"boundaries needs .*; got labels of shape \(7, 3\)"),
    ],
)
def test_what_needs_classes_says_so(loss, message, generator):
    config = loss.get_config()
    config["same_class"] = losses.have_common_label
    loss = type(loss).from_config(config)
    weights = {"boundaries": np.ones(3)} if isinstance(loss, losses.Margin) else {}
    embeddings = generator.standard_normal((7, 4))
    with pytest.raises(ValueError, match=message):
        loss(LABELS, embeddings, **against(embeddings, LABELS), **weights)


@pytest.mark.parametrize(
    ("same_class", "message"),
    [
        (3, "same_class must be a function of labels or None; got 3"),
        (None, r"labels \(n,\); got \(7, 4\) and \(7, 3\)"),
        (lambda labels, others: ops.cast(labels, "float32"), "must return booleans .* got float32"),
        (lambda labels, others: labels > 0, r"of shape \(7, 7\); got bool of shape \(7, 3"),
    ],
)
def test_errors_say_what_is_allowed(same_class, message):
    with pytest.raises(ValueError, match=message):
        losses.get("triplet", same_class=same_class)(LABELS, np.zeros((7, 4)))
