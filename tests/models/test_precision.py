"""Half precision inside the network, and several steps per execution."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import data
from ccp_dml.callbacks import AlternatingProjections, RetrievalValidation
from ccp_dml.experiment.methods import make_loss
from ccp_dml.experiment.precision import precision_scope
from ccp_dml.models import EmbeddingModel, ProxyModel, small_convnet
from tests.cases import CASES, settings_of, slow_except, small_model
from tests.distribution.training import in_float64
from tests.models.small_models import images_and_labels


def train(method, precision="float32", steps_per_execution=1, epochs=6):
    settings = settings_of(
        "contrastive", precision=precision, steps_per_execution=steps_per_execution
    )
    with precision_scope(precision):
        model = small_model(method, settings)
    digits = data.load("digits").train
    used, held_out = data.hold_out_samples(digits.labels, fraction=0.25, seed=0)
    training, validation = digits.subset(used), digits.subset(held_out)
    callbacks = [RetrievalValidation(validation)]
    if "ccp" in method:
        pools = data.class_pools(training, draws=5, seed=0)
        # Rounds end soon.
        callbacks.append(AlternatingProjections(pools, patience=1, min_delta=0.2, warmup_epochs=1))
    history = model.fit(
        data.training_batches(training, 5, 3, seed=0),
        steps_per_epoch=10,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    ).history
    return model, history


@pytest.mark.parametrize("method", slow_except(["ccp+xbm+dvml"], ["ccp", "ccp+xbm+dvml"]))
def test_several_steps_per_execution_give_the_same_numbers(method):
    (one, history), (several, other_history) = (
        train(method, steps_per_execution=steps) for steps in (1, 5)
    )
    assert history["round"][-1] == 2
    np.testing.assert_equal(history, other_history)
    for weight, other in zip(one.variables, several.variables, strict=True):
        np.testing.assert_array_equal(weight.numpy(), other.numpy(), err_msg=weight.path)


def test_half_precision_inside_the_network_learns_as_well():
    gains = {}
    for precision in ("float32", "mixed_bfloat16"):
        _, history = train("ccp", precision, epochs=12)
        first, *later = history["val_map_at_r"]
        gains[precision] = np.mean(later[-6:]) - first
    assert gains["float32"] > 0.05
    # Like another seed, rounding makes training take another course, neither worse nor better.
    assert 0.5 < gains["mixed_bfloat16"] / gains["float32"] < 2


# Other tests compare the losses alone with naive ones in float64. Here are losses of pairs, of
# triplets and of ranks, those with weights or proxies of their own, and wrappers that do more than
# choose which pairs count.
IN_FLOAT64 = [
    "contrastive",
    "triplet",
    "smooth_ap",
    "margin",
    "soft_triple",
    "proxy_anchor",
    "multi_level_distance",
    "proxy_synthesis",
    "virtual_softmax",
    "semi_hard",
    "distance_weighted",
]


@pytest.mark.parametrize("case", slow_except(IN_FLOAT64, list(CASES)))
def test_every_loss_trains_in_float64(case):
    losses, initial_weights = {}, None
    for precision, scope in [("float32", contextlib.nullcontext), ("float64", in_float64)]:
        loss = make_loss(settings_of(case))
        with scope():
            model = ProxyModel(
                EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=8),
                num_classes=5,
                proxies_per_class=loss.proxies_per_class or 2,
                batch_loss_weight=0.1,
            )
            model.compile(keras.optimizers.SGD(0.1), loss=loss, run_eagerly=True)
            # Random weights depend on the dtype.
            initial_weights = initial_weights or model.get_weights()
            model.set_weights(initial_weights)
            images, labels = images_and_labels(15)
            history = model.fit(images, labels, batch_size=15, epochs=2, shuffle=False, verbose=0)
        assert {each.dtype for each in model.trainable_variables} == {precision}
        losses[precision] = history.history["loss"]
    assert losses["float64"] == pytest.approx(losses["float32"], rel=1e-5)
    # The computation has more digits, not only its result.
    assert losses["float64"] != losses["float32"]


def test_what_is_outside_of_the_network_stays_float32():
    model, _ = train("ccp+xbm+dvml", "mixed_bfloat16", epochs=2)
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")
    floats = {each.path: each.dtype for each in model.variables if "float" in each.dtype}
    assert set(floats.values()) == {"float32"}
    assert model.embedding_model.backbone(images).dtype == tf.bfloat16
    assert model.embedding_model(images).dtype == tf.float32
    assert model(images).dtype == tf.float32
    assert model.predict(images, verbose=0).dtype == "float32"
    losses = model.batch_losses(np.arange(4) % 2, model.loss_inputs(images, training=False))
    assert {loss.dtype for loss in losses.values()} == {tf.float32}
