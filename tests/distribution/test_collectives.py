"""Any number of replicas takes the same steps as one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.distribution.tensorflow import collectives
from tests.cases import CASES, settings_of, slow_except, small_model
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
    """The weights, by path, before and after some steps."""
    # Batches of odd size, so that replicas get shares of unequal size.
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


# What replicas share is the same for all losses, except for what a loss learns, draws, remembers or
# adds to the proxies. In these cases, "distance_weighted" covers "margin", and "easy_positive"
# covers "n_pair"; "contrastive" is tested with Adam.
QUICK = (
    "soft_triple",
    "smooth_ap",
    "multi_level_distance",
    "proxy_synthesis",
    "virtual_softmax",
    "distance_weighted",
    "easy_positive",
)


# With SGD: Adam amplifies rounding, which can change random draws and nearest neighbours.
@pytest.mark.parametrize("case", slow_except(QUICK, list(CASES)))
def test_every_loss_takes_the_same_steps(case, two_replicas):
    trained = assert_the_same_steps(
        lambda: compiled("plain", case, keras.optimizers.SGD(0.1)), two_replicas
    )
    learned = [path for path in trained if "loss_weights" in path]
    assert len(learned) == (case in ("margin", "distance_weighted", "multi_level_distance"))


@pytest.mark.parametrize(
    ("method", "case"),
    [
        ("xbm", "distance_weighted"),
        ("ccp+xbm+dvml", "margin"),
        # The case above has all of their parts, and "proxy_synthesis" is tested with the losses.
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("ccp", "margin"),
                ("dvml", "proxy_synthesis"),
                ("ccp+xbm", "multi_similarity"),
                ("ccp+dvml", "multi_similarity"),
                ("xbm+dvml", "multi_similarity"),
            )
        ),
    ],
)
def test_every_method_takes_the_same_steps(method, case, two_replicas):
    assert_the_same_steps(lambda: compiled(method, case, keras.optimizers.SGD(0.1)), two_replicas)


# The steps of ccp include those of plain.
@pytest.mark.parametrize("method", [pytest.param("plain", marks=pytest.mark.slow), "ccp"])
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


def gathered(shares, strategy, is_static):
    """What every replica gathers, and the gradient of its weighted sum for the replica's share."""
    weights = np.arange(1.0, 1 + sum(map(len, shares)), dtype="float32")[:, None]

    def step(rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            everything = collectives.gather(rows)
            loss = tf.reduce_sum(weights * everything)
        return everything, tape.gradient(loss, rows), everything.shape[0] or 0

    spec = tf.TensorSpec([len(shares[0]) if is_static else None, 2])

    @tf.function
    def run(*shares):
        shares = [tf.ensure_shape(share, spec.shape) for share in shares]
        values = strategy.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )
        return [strategy.experimental_local_results(each) for each in strategy.run(step, (values,))]

    return run.get_concrete_function(spec, spec)(*map(tf.constant, shares))


@pytest.mark.parametrize("sizes", [(3, 3), (1, 4), (0, 2)])
def test_rows_are_gathered_in_order_with_their_gradients(sizes, generator, two_replicas):
    is_static = sizes[0] == sizes[1]
    shares = [generator.standard_normal((size, 2)).astype("float32") for size in sizes]
    if is_static:
        # An infinity on one replica must not become NaN on the others.
        shares[0][1] = np.inf
    everything, gradients, known_sizes = gathered(shares, two_replicas, is_static)
    for each in everything:
        np.testing.assert_array_equal(each, np.concatenate(shares))
    # Both replicas compute the loss of all rows.
    expected = 2 * np.arange(1.0, 1 + sum(sizes))[:, None] * np.ones(2)
    np.testing.assert_array_equal(np.concatenate(gradients), expected)
    assert set(map(int, known_sizes)) == {sum(sizes) if is_static else 0}


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int64"])
@pytest.mark.parametrize("is_static", [False, True])
def test_labels_of_any_kind_are_gathered(dtype, is_static, two_replicas):
    labels = np.array([0, 1, np.iinfo(dtype).max if dtype != "bool" else 1, 1]).astype(dtype)
    spec = tf.TensorSpec([2 if is_static else None], dtype)

    @tf.function(input_signature=[spec, spec])
    def run(*shares):
        values = two_replicas.experimental_distribute_values_from_function(
            lambda context: shares[context.replica_id_in_sync_group]
        )
        return two_replicas.experimental_local_results(
            two_replicas.run(collectives.gather, (values,))
        )

    for each in run(labels[:2], labels[2:]):
        assert each.dtype == dtype
        np.testing.assert_array_equal(each, labels)


def test_equal_shares_are_gathered_under_xla(monkeypatch):
    replica = tf.Variable(1)
    monkeypatch.setattr(collectives, "num_replicas", lambda: 3)
    monkeypatch.setattr(collectives, "_replica_id", replica.read_value)
    monkeypatch.setattr(collectives, "_sum", lambda share: share)
    rows = tf.constant([[1, 2], [3, 4]])
    share = tf.function(collectives.gather, jit_compile=True)(rows)
    np.testing.assert_array_equal(share, [[0, 0], [0, 0], [1, 2], [3, 4], [0, 0], [0, 0]])


# The last batch has one image, so that a replica gets none, or two, one for each replica.
@pytest.mark.parametrize("count", [15, 16])
def test_short_batches_are_predicted_and_evaluated(count, two_replicas):
    images, labels = images_and_labels(count)
    model = convolutional_model()
    with two_replicas.scope():
        distributed = convolutional_model()
    distributed.set_weights(model.get_weights())
    found, expected = (
        [
            each.predict(images, batch_size=7, verbose=0),
            each.evaluate(images, labels, batch_size=7, verbose=0),
        ]
        for each in (distributed, model)
    )
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
