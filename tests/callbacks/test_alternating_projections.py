"""The rounds, with a scripted validation metric and a network whose weights the test sets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from ccp_dml.callbacks import AlternatingProjections, RetrievalValidation
from ccp_dml.data import LabeledImages, class_pools, training_batches
from ccp_dml.models import ChanceConstrainedModel, MetricLearningModel
from tests import naive

pytestmark = pytest.mark.both_backends(slow=True)

CLASSES, DRAWS, SIZE = 3, 4, 2


def pool(round_number):
    """Pools with the same samples in every round, up to a factor."""
    inputs = np.random.default_rng(5).standard_normal((DRAWS * CLASSES, SIZE)).astype("float32")
    labels = np.tile(np.arange(CLASSES), DRAWS)
    return tf.data.Dataset.from_tensor_slices((inputs * (round_number + 1), labels)).batch(5)


def pool_inputs(round_number):
    """The samples of a pool, of shape (C, b, d)."""
    inputs = np.concatenate([inputs for inputs, _ in pool(round_number)])
    return inputs.reshape(DRAWS, CLASSES, SIZE).swapaxes(0, 1)


def make_model(cls=ChanceConstrainedModel, **kwargs):
    inputs = keras.Input((SIZE,))
    embedding_model = keras.Model(inputs, keras.layers.Dense(SIZE, use_bias=False)(inputs))
    if cls is ChanceConstrainedModel:
        kwargs = {"num_classes": CLASSES, "proxies_per_class": 2}
    model = cls(embedding_model, **kwargs)
    model.compile("adam", loss="contrastive")
    return model


class Script:
    """Drives a callback through epochs: sets the weights of an epoch, then reports its metric."""

    def __init__(self, **kwargs):
        self.model = make_model()
        self.ends = []
        self.callback = AlternatingProjections(
            pool, patience=2, proximal_weight=0.5, on_round_end=self.ends.append, **kwargs
        )
        self.callback.set_model(self.model)
        self.epoch = 0

    def begin(self):
        self.kernel = np.eye(SIZE, dtype="float32")
        self.model.embedding_model.set_weights([self.kernel])
        self.callback.on_train_begin()

    def run(self, *metrics):
        for metric in metrics:
            self.epoch += 1
            self.kernel = np.eye(SIZE, dtype="float32") * (1 + self.epoch)
            self.model.embedding_model.set_weights([self.kernel])
            self.model.proxies.vectors.assign_add(tf.ones((2 * CLASSES, SIZE)))
            logs = {"val_map_at_r": metric}
            self.callback.on_epoch_end(self.epoch, logs)
        return logs


def chosen(points, initial):
    indices = naive.greedy_k_center(points, initial, 2)
    return np.take_along_axis(points, indices[:, :, None], axis=1)


def test_proxies_start_from_the_pool_measured_from_the_origin():
    script = Script()
    script.begin()
    points = pool_inputs(0)
    expected = chosen(points, np.zeros((CLASSES, 0, SIZE)))
    np.testing.assert_allclose(script.model.proxies.by_class(), expected, rtol=1e-6)
    assert script.model.proximal_weight.numpy() == 0
    assert script.callback.round == 0


def test_a_round_ends_as_the_method_says():
    script = Script(proximal_growth=3.0)
    script.begin()
    initial = script.model.proxies.by_class()
    # Epoch 2 is the best: 0.3 + 1e-5 is no gain, and two epochs without a gain end the round.
    assert script.run(0.2, 0.3, 0.30001)["round"] == 0
    assert not script.ends
    logs = script.run(0.1)
    assert logs["round"] == 0
    (end,) = script.ends
    assert end.round == 0
    assert script.callback.round == 1
    # The best proxies are those of epoch 2; the pool is embedded with the weights of epoch 4.
    np.testing.assert_allclose(end.proxies, initial + 2, rtol=1e-6)
    points = pool_inputs(1) * (1 + 4)
    np.testing.assert_allclose(end.pool, points, rtol=1e-5)
    np.testing.assert_allclose(end.next_proxies, chosen(points, initial + 2), rtol=1e-5)
    np.testing.assert_allclose(script.model.proxies.by_class(), end.next_proxies)
    # The reference point has the weights of epoch 2, the best; training continues from epoch 4.
    np.testing.assert_allclose(script.model.reference_point[0], np.eye(SIZE) * (1 + 2))
    np.testing.assert_allclose(script.model.embedding_model.get_weights()[0], script.kernel)
    np.testing.assert_allclose(script.kernel, np.eye(SIZE) * (1 + 4))
    assert script.model.proximal_weight.numpy() == pytest.approx(0.5 * 3)
    # The best and the patience start anew: 0.05 is the best of its round.
    script.run(0.05, 0.04)
    assert script.callback.round == 1
    script.run(0.03)
    assert script.callback.round == 2
    np.testing.assert_allclose(script.model.reference_point[0], np.eye(SIZE) * (1 + 5))
    assert script.model.proximal_weight.numpy() == pytest.approx(0.5 * 9)


def test_covering_radius_of_a_round():
    script = Script()
    script.begin()
    assert np.isnan(script.run(0.3)["covering_radius"])
    logs = script.run(0.2, 0.1)
    (end,) = script.ends
    for radius, proxies in [
        (end.covering_radius, end.proxies),
        (end.next_covering_radius, end.next_proxies),
    ]:
        expected = [
            max(
                min(np.linalg.norm(p - c) for c in naive.normalize(centers))
                for p in naive.normalize(points)
            )
            for points, centers in zip(end.pool, proxies, strict=True)
        ]
        assert radius == pytest.approx(np.mean(expected), rel=1e-5)
    assert logs["covering_radius"] == end.covering_radius


def test_warm_up_trains_on_the_batch_loss_before_the_first_round():
    script = Script(warmup_epochs=2)
    script.begin()
    assert script.model.warming_up.numpy()
    assert script.run(0.5)["round"] == -1
    assert script.model.warming_up.numpy()
    assert script.run(0.5)["round"] == -1
    assert not script.model.warming_up.numpy()
    # Proxies come from the pool as the warmed-up network embeds it.
    points = pool_inputs(0) * (1 + 2)
    expected = chosen(points, np.zeros((CLASSES, 0, SIZE)))
    np.testing.assert_allclose(script.model.proxies.by_class(), expected, rtol=1e-6)
    # The metrics of the warm-up do not count in round 0.
    assert script.run(0.1, 0.05)["round"] == 0
    assert not script.ends


def test_a_training_that_ends_in_the_warm_up_leaves_the_model_without_it():
    script = Script(warmup_epochs=2)
    script.begin()
    script.run(0.5)
    script.callback.on_train_end()
    assert not script.model.warming_up.numpy()
    # It resumes with the state of the rounds.
    resumed = AlternatingProjections(pool, warmup_epochs=2)
    resumed.restore(script.callback.state())
    resumed.set_model(script.model)
    resumed.on_train_begin()
    assert script.model.warming_up.numpy()
    resumed.on_epoch_end(1, {"val_map_at_r": 0.5})
    assert not script.model.warming_up.numpy()
    assert resumed.round == 0


def test_perturbation_is_relative_to_each_weight_and_fixed_by_the_seed():
    references = []
    for perturbation, seed in [(0.1, 0), (0.1, 0), (0.1, 1), (0.2, 0)]:
        script = Script(perturbation=perturbation, seed=seed)
        script.begin()
        script.run(0.3, 0.2, 0.1)
        references.append(script.model.reference_point[0].numpy())
    np.testing.assert_array_equal(references[0], references[1])
    assert (references[0] != references[2]).all()
    noise, twice = (reference - np.eye(SIZE) * 2 for reference in references[::3])
    np.testing.assert_allclose(twice, 2 * noise, rtol=1e-4)
    # The weight has four elements, with a root mean square of √2.
    assert 0.02 < np.sqrt(np.mean(noise**2)) < 0.4


def test_the_optimizers_moments_carry_over():
    script = Script()
    script.begin()
    script.model.optimizer.build(script.model.trainable_variables)
    for variable in script.model.optimizer.variables[2:]:
        variable.assign(tf.ones(variable.shape))
    script.run(0.3, 0.2, 0.1)
    assert script.ends
    for variable in script.model.optimizer.variables[2:]:
        np.testing.assert_array_equal(variable, np.ones(variable.shape))


@pytest.mark.parametrize(
    "options",
    [{}, {"proxy_selection": "random", "max_renewals": 2, "max_round_epochs": 2}],
)
def test_the_state_can_be_saved_and_restored(options, tmp_path):
    metrics = [0.2, 0.3, 0.1, 0.05, 0.4, 0.3, 0.35, 0.1, 0.2]
    whole = Script(warmup_epochs=1, **options)
    whole.begin()
    whole.run(*metrics)
    for stop in range(1, len(metrics)):
        first = Script(warmup_epochs=1, **options)
        first.begin()
        first.run(*metrics[:stop])
        np.savez(tmp_path / "state.npz", **first.callback.state())
        first.model.save_weights(tmp_path / "model.weights.h5")

        second = Script(warmup_epochs=1, **options)
        second.model.load_weights(tmp_path / "model.weights.h5")
        with np.load(tmp_path / "state.npz") as state:
            second.callback.restore(state)
        second.callback.on_train_begin()
        second.epoch = stop
        second.run(*metrics[stop:])
        assert second.callback.round == whole.callback.round
        for ours, theirs in zip(second.model.get_weights(), whole.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_random_proxies_are_samples_of_the_pool_and_others_in_each_round():
    script = Script(proxy_selection="random")
    script.begin()
    first = script.model.proxies.by_class()
    script.run(0.3, 0.2, 0.1)
    chosen = [(pool_inputs(0), first), (script.ends[0].pool, script.ends[0].next_proxies)]
    places = []
    for points, proxies in chosen:
        near = np.abs(points[:, :, None] - proxies[:, None]).max(axis=3) < 1e-5
        # Every proxy is a sample, and no two proxies are the same sample.
        np.testing.assert_array_equal(near.sum(axis=1), 1)
        np.testing.assert_array_equal(near.sum(axis=2).max(axis=1), 1)
        places.append(near.argmax(axis=1))
    assert (places[0] != places[1]).any()
    np.testing.assert_array_equal(script.model.proxies.by_class(), script.ends[0].next_proxies)


def test_proxies_without_a_selection_stay_when_rounds_end():
    script = Script(proxy_selection="none")
    start = script.model.proxies.by_class()
    script.begin()
    np.testing.assert_array_equal(script.model.proxies.by_class(), start)
    script.run(0.3, 0.2, 0.1)
    (end,) = script.ends
    # The proxies of the first epoch, the best; the next round starts from those of the third.
    np.testing.assert_allclose(end.proxies, start + 1, rtol=1e-6)
    np.testing.assert_allclose(end.next_proxies, start + 3, rtol=1e-6)
    np.testing.assert_allclose(script.model.proxies.by_class(), start + 3, rtol=1e-6)
    np.testing.assert_allclose(script.model.reference_point[0], np.eye(SIZE) * 2)
    assert script.model.proximal_weight.numpy() == pytest.approx(0.5)


@pytest.mark.parametrize("max_renewals", [0, 1, 2])
def test_the_number_of_renewals_is_limited(max_renewals):
    script = Script(max_renewals=max_renewals)
    script.begin()
    started = script.model.proxies.by_class()
    script.run(*[0.3, 0.2, 0.1] * 3)
    assert script.callback.round == 3
    expected = chosen(pool_inputs(0), np.zeros((CLASSES, 0, SIZE)))
    np.testing.assert_allclose(started, expected, rtol=1e-6)
    # The script adds 1 to every proxy in every epoch, which is all that happens between renewals.
    for number, end in enumerate(script.ends):
        kept = started + 3
        if number < max_renewals:
            assert np.abs(end.next_proxies - kept).max() > 1e-2
        else:
            np.testing.assert_allclose(end.next_proxies, kept, rtol=1e-5)
        started = end.next_proxies
    np.testing.assert_allclose(script.model.proxies.by_class(), started, rtol=1e-6)


def test_a_round_is_no_longer_than_it_may_be():
    script = Script(max_round_epochs=4)
    script.begin()
    script.run(0.1, 0.2, 0.3)
    assert script.callback.round == 0
    script.run(0.4)
    assert script.callback.round == 1
    # The last epoch of the round was its best.
    np.testing.assert_allclose(script.model.reference_point[0], np.eye(SIZE) * (1 + 4))
    # Patience still ends rounds that are shorter, and the count starts anew.
    script.run(0.5, 0.4, 0.3)
    assert script.callback.round == 2
    script.run(0.1, 0.2, 0.3)
    assert script.callback.round == 2
    script.run(0.4)
    assert script.callback.round == 3


def test_a_metric_that_is_never_a_number_ends_no_round():
    script = Script()
    script.begin()
    script.run(*[float("nan")] * 5)
    assert script.callback.round == 0


def test_rounds_of_a_real_training(generator):
    """Proxies are samples' embeddings, and validation is read in the epoch it was made in."""
    labels = np.repeat(np.arange(CLASSES), 20)
    inputs = (generator.standard_normal((60, SIZE)) + 0.5 * labels[:, None]).astype("float32")
    data = LabeledImages(inputs.reshape(-1, 1, 1, SIZE), labels)
    keras.utils.set_random_seed(0)
    flat = keras.Input((1, 1, SIZE))
    embedding = keras.layers.Dense(4)(keras.layers.Flatten()(flat))
    model = ChanceConstrainedModel(keras.Model(flat, embedding), CLASSES, 2)
    model.compile(keras.optimizers.Adam(0.05), loss=losses.get("contrastive"))
    validation = RetrievalValidation(data, restore_best_weights=False)
    rounds = AlternatingProjections(class_pools(data, 6, seed=0), patience=1)
    history = model.fit(
        data.images, labels, batch_size=30, epochs=25, verbose=0, callbacks=[validation, rounds]
    ).history
    assert rounds.round > 0
    best, ended = -np.inf, []
    for metric, round_number in zip(history["val_map_at_r"], history["round"], strict=True):
        assert round_number == len(ended)
        if metric > best + 1e-5:
            best = metric
        else:
            best = -np.inf
            ended.append(metric)
    assert len(ended) == rounds.round


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience must be a whole number of at least 1; got 0"),
        ({"proximal_weight": -1}, "proximal_weight must be at least 0; got -1"),
        ({"warmup_epochs": -1}, "warmup_epochs must be a whole number of at least 0; got -1"),
        ({"proxy_selection": "mean"}, "proxy_selection must be one of k_center, random, .* 'mean'"),
        ({"max_renewals": -1}, "max_renewals must be a whole number of at least 0; got -1"),
        ({"max_renewals": 2.5}, "max_renewals must be a whole number of at least 0; got 2.5"),
        ({"max_round_epochs": 0}, "max_round_epochs must be a whole number of at least 1; got 0"),
        ({"max_round_epochs": 2.5}, "must be a whole number of at least 1; got 2.5"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AlternatingProjections(pool, **arguments)


def test_a_missing_metric_names_the_remedy():
    script = Script()
    script.begin()
    with pytest.raises(ValueError, match=r"no 'val_map_at_r'.*before AlternatingProjections"):
        script.callback.on_epoch_end(0, {"loss": 1.0})


def test_wrong_models_and_pools_are_named():
    callback = AlternatingProjections(pool)
    callback.set_model(make_model(MetricLearningModel))
    with pytest.raises(ValueError, match="ChanceConstrainedModel; got MetricLearningModel"):
        callback.on_train_begin()
    callback = AlternatingProjections(lambda _: pool(0).map(lambda x, y: (x, y + 1)))
    callback.set_model(make_model())
    with pytest.raises(ValueError, match="one sample from each of the classes 0…2"):
        callback.on_train_begin()


def test_restoring_something_else_changes_nothing():
    callback = AlternatingProjections(pool)
    with pytest.raises(ValueError, match=r"not the state .* is missing; it holds round"):
        callback.restore({"round": 1})
    assert callback.round == -1


def test_training_does_not_resume_without_the_state_of_the_rounds(generator, tmp_path):
    inputs = generator.standard_normal((30, SIZE)).astype("float32")
    labels = np.arange(30) % CLASSES

    def fit(model, callbacks, **options):
        metric = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(val_map_at_r=0.5)
        )
        return model.fit(inputs, labels, verbose=0, callbacks=[metric, *callbacks], **options)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)

    message = "training resumes at epoch 2, but the rounds would start over.*TrainingState"
    with pytest.raises(ValueError, match=message):
        fit(make_model(), [AlternatingProjections(pool)], epochs=4, initial_epoch=2)
    rounds = AlternatingProjections(pool)
    fit(make_model(), [rounds, backup()], epochs=2)
    with pytest.raises(ValueError, match=message):
        fit(make_model(), [AlternatingProjections(pool), backup()], epochs=4)
    # With the state of the rounds, training continues.
    resumed = AlternatingProjections(pool)
    resumed.restore(rounds.state())
    fit(make_model(), [resumed, backup()], epochs=4)
    assert [resumed.round_of_epoch(epoch) for epoch in range(4)] == [0, 0, 0, 0]
    # A new training may start from its first epoch.
    fit(make_model(), [resumed], epochs=1)


def test_the_rounds_of_epochs_are_known():
    script = Script(warmup_epochs=1)
    script.begin()
    script.run(0.5, 0.3, 0.2, 0.1, 0.4)
    assert [script.callback.round_of_epoch(epoch) for epoch in range(5)] == [-1, 0, 0, 0, 1]


def test_rounds_of_two_replicas_are_those_of_one(two_replicas, generator):
    labels = np.arange(60) % CLASSES
    inputs = (generator.standard_normal((60, SIZE)) + 0.5 * labels[:, None]).astype("float32")
    data = LabeledImages(inputs.reshape(-1, 1, 1, SIZE), labels)

    def make():
        keras.utils.set_random_seed(0)
        flat = keras.Input((1, 1, SIZE))
        embedding = keras.layers.Dense(4)(keras.layers.Flatten()(flat))
        model = ChanceConstrainedModel(keras.Model(flat, embedding), CLASSES, 2)
        # Not Adam, which amplifies rounding.
        model.compile(keras.optimizers.SGD(0.1), loss=losses.get("contrastive"))
        return model

    def train(model):
        ends = []
        rounds = AlternatingProjections(
            class_pools(data, 6, seed=0),
            monitor="scripted",
            patience=2,
            warmup_epochs=1,
            on_round_end=ends.append,
        )
        metrics = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(scripted=-epoch)
        )
        validation = RetrievalValidation(data)
        batches = training_batches(data, CLASSES, 5, seed=0)
        model.fit(
            batches,
            steps_per_epoch=3,
            epochs=6,
            verbose=0,
            shuffle=False,
            callbacks=[validation, metrics, rounds],
        )
        return ends, model.get_weights()

    ends, weights = train(make())
    with two_replicas.scope():
        distributed = make()
    distributed_ends, distributed_weights = train(distributed)
    assert len(ends) == len(distributed_ends) == 1
    np.testing.assert_allclose(distributed_ends[0].pool, ends[0].pool, atol=1e-5)
    for ours, theirs in zip(distributed_weights, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("slice_bytes", "selection"),
    [
        (1, "k_center"),
        (4 * 6 * SIZE * 110, "k_center"),
        (2**28, "k_center"),
        (4 * 6 * SIZE * 110, "random"),
        (4 * 6 * SIZE * 110, "none"),
    ],
)
def test_slices_of_classes_choose_the_proxies_of_the_whole(slice_bytes, selection):
    """There are 300 classes, whose draws end within batches."""
    classes, draws = 300, 6
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(classes), 4)
    images = generator.standard_normal((len(labels), 1, 1, SIZE)).astype("float32")

    def augment(batch, seed):
        return batch + tf.random.stateless_normal(tf.shape(batch), seed)

    def end_rounds(slice_bytes):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((1, 1, SIZE))
        outputs = keras.layers.Dense(SIZE)(keras.layers.Flatten()(inputs))
        model = ChanceConstrainedModel(keras.Model(inputs, outputs), classes, 2)
        model.compile("sgd", loss="contrastive")
        ends = []
        callback = AlternatingProjections(
            class_pools(LabeledImages(images, labels, augment), draws, seed=0),
            patience=1,
            proxy_selection=selection,
            on_round_end=ends.append,
            slice_bytes=slice_bytes,
        )
        callback.set_model(model)
        callback.on_train_begin()
        proxies = [model.proxies.by_class().copy()]
        for epoch, metric in enumerate([0.3, 0.2, 0.1, 0.05]):
            callback.on_epoch_end(epoch, {"val_map_at_r": metric})
            proxies.append(model.proxies.by_class().copy())
        return proxies, ends

    # With one byte, every class is a slice of its own, which is slow: four classes are enough.
    if slice_bytes == 1:
        classes, labels = 4, labels[:16]
        images = images[:16]
    whole, whole_ends = end_rounds(2**30)
    sliced, sliced_ends = end_rounds(slice_bytes)
    for ours, theirs in zip(sliced, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert len(whole_ends) == 2
    for ours, theirs in zip(sliced_ends, whole_ends, strict=True):
        np.testing.assert_allclose(ours.next_proxies, theirs.next_proxies, rtol=1e-5, atol=1e-6)
        assert ours.covering_radius == pytest.approx(theirs.covering_radius, rel=1e-5)
        assert ours.next_covering_radius == pytest.approx(theirs.next_covering_radius, rel=1e-5)
        assert (ours.pool is None) == (slice_bytes < 2**28)


def test_whole_pools_of_ones_own_are_not_sliced():
    script = Script(slice_bytes=1)
    script.begin()
    script.run(0.3, 0.2, 0.1)
    (end,) = script.ends
    assert end.pool.shape == (CLASSES, DRAWS, SIZE)
