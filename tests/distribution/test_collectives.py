"""Any number of replicas takes the steps of one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cases import CASES, settings_of, small_model
from tests.models.small_models import convolutional_model, images_and_labels


def compiled(method, case, optimizer):
    settings = settings_of(case, clip_norm=1.0, weight_decay=0.01, proximal_weight=0.01)
    model = small_model(method, settings)
    model.compile(optimizer, loss=model.loss)
    if hasattr(model, "proximal_weight"):
        # As in a later round.
        model.proximal_weight.assign(0.01)
    if hasattr(model, "second_phase"):
        model.second_phase.assign(True)
    return model


def steps_of(model, count=6):
    """The weights by their paths before and after some steps."""
    # Odd batches, so that replicas get shares of unequal size.
    batches = tf.data.Dataset.from_tensor_slices(images_and_labels(15 * count)).batch(15)
    before = {variable.path: variable.numpy() for variable in model.variables}
    model.fit(batches, shuffle=False, verbose=0)
    return before, {variable.path: variable.numpy() for variable in model.variables}


def assert_the_same_steps(make, two_replicas):
    model = make()
    with two_replicas.scope():
        distributed = make()
    distributed.set_weights(model.get_weights())
    before, expected = steps_of(model)
    _, found = steps_of(distributed)
    assert len(found) == len(expected)
    for (path, weight), other in zip(expected.items(), found.values(), strict=True):
        np.testing.assert_allclose(other, weight, atol=1e-5, err_msg=path)
    trained = {variable.path for variable in model.trainable_variables}
    still = [path for path in trained if np.abs(expected[path] - before[path]).max() < 1e-4]
    assert not still
    return trained


# Adam amplifies rounding, and with it what random numbers and nearest neighbours decide.
@pytest.mark.parametrize("case", CASES)
def test_every_loss_takes_the_same_steps(case, two_replicas):
    trained = assert_the_same_steps(
        lambda: compiled("plain", case, keras.optimizers.SGD(0.1)), two_replicas
    )
    learnt = [path for path in trained if "loss_weights" in path]
    assert len(learnt) == (case in ("margin", "distance_weighted", "multi_level_distance"))


@pytest.mark.parametrize(
    ("method", "case"),
    [
        ("ccp", "margin"),
        ("xbm", "distance_weighted"),
        ("dvml", "proxy_synthesis"),
        ("ccp+xbm", "multi_similarity"),
        ("ccp+dvml", "multi_similarity"),
        ("xbm+dvml", "multi_similarity"),
        ("ccp+xbm+dvml", "margin"),
    ],
)
def test_every_method_takes_the_same_steps(method, case, two_replicas):
    assert_the_same_steps(lambda: compiled(method, case, keras.optimizers.SGD(0.1)), two_replicas)


@pytest.mark.parametrize("method", ["plain", "ccp"])
def test_adam_takes_the_same_steps(method, two_replicas):
    assert_the_same_steps(
        lambda: compiled(method, "contrastive", keras.optimizers.Adam(0.01)), two_replicas
    )


def test_two_replicas_predict_and_evaluate(two_replicas):
    images, labels = images_and_labels()
    model = convolutional_model()
    with two_replicas.scope():
        distributed = convolutional_model()
    distributed.set_weights(model.get_weights())
    np.testing.assert_allclose(
        distributed.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6
    )
    losses_of_both = [
        float(each.evaluate(images, labels, batch_size=40, verbose=0))
        for each in (distributed, model)
    ]
    assert losses_of_both[0] == pytest.approx(losses_of_both[1], rel=1e-5)
