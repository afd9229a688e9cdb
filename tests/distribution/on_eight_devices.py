"""Tests for JAX with eight virtual devices, which `tests/test_both_backends.py` runs."""

import re
import threading

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import distribution, losses
from ccp_dml.callbacks import (
    AlternatingProjections,
    HistoryLog,
    ProgressLine,
    RetrievalValidation,
    TerminateOnFailure,
    TrainingState,
)
from ccp_dml.distribution import BatchMap
from ccp_dml.distribution.jax import strategies
from ccp_dml.evaluation import embed
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    small_convnet,
)
from ccp_dml.optimizers import LazyAdam
from tests.cases import CASES, settings_of, slow_except, small_model
from tests.distribution.jax_training import train
from tests.distribution.training import check_equal
from tests.models.small_models import images_and_labels

# They run together with the tests for both backends.
pytestmark = pytest.mark.both_backends

# Groups share a batch and the devices of a group share the rows, which covers data_parallel too.
MOSTLY_BOTH = [pytest.param("data_parallel", marks=pytest.mark.slow), "model_parallel"]


def model_devices_of(name):
    return 2 if name == "model_parallel" else 1


def network():
    keras.utils.set_random_seed(0)
    return EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)


def model_in(name, model_devices=1, num_classes=40, **options):
    with distribution.strategy(name, model_devices).scope():
        memory = CrossBatchMemory(num_batches=2, batch_size=40, start_step=0, name="memory")
        model = ChanceConstrainedModel(network(), num_classes, 2, memory=memory, **options)
        model.compile(LazyAdam(0.01), loss="contrastive")
    return model


def of_rows(model):
    """Variables with a row for each proxy or each slot of the memory, by path."""
    variables = [*model.variables, *model.optimizer.variables]
    return {each.path: each for each in variables if each.shape[:1] == (80,)}


def check_each_device_has_its_rows(model, count):
    variables = of_rows(model)
    assert len(variables) == 6, list(variables)
    for path, variable in variables.items():
        shards = variable.value.addressable_shards
        assert len(shards) == 8
        assert {shard.data.shape[0] for shard in shards} == {count}, path
        assert len({shard.index[0].start for shard in shards}) == 80 // count
    for variable in [*model.embedding_model.variables, *model.reference_point]:
        assert variable.value.sharding.is_fully_replicated


@pytest.mark.parametrize("model_devices", [2, 8])
def test_each_device_keeps_its_share_of_the_rows(model_devices, generator):
    count = 80 // model_devices
    model = model_in("model_parallel", model_devices, sampled_classes=1)
    check_each_device_has_its_rows(model, count)
    images, labels = images_and_labels(80)
    before = model.proxies.by_class()
    model.fit(images, labels, batch_size=40, verbose=0)
    assert np.abs(model.proxies.by_class() - before)[:5].min() > 0
    check_each_device_has_its_rows(model, count)
    # Assign as rounds do, all classes or a slice of them, and as restoring a state does.
    proxies = generator.standard_normal((40, 2, 6)).astype("float32")
    model.proxies.assign_by_class(proxies)
    np.testing.assert_array_equal(model.proxies.by_class(), proxies)
    model.proxies.assign_by_class(proxies[:3], first_class=5)
    proxies[5:8] = proxies[:3]
    np.testing.assert_array_equal(model.proxies.by_class(), proxies)
    model.set_weights(model.get_weights())
    for variable in model.optimizer.variables:
        variable.assign(variable.numpy())
    check_each_device_has_its_rows(model, count)


def test_all_devices_have_everything_of_data_parallel_models():
    model = model_in("data_parallel")
    model.fit(*images_and_labels(40), batch_size=40, verbose=0)
    for variable in [*model.variables, *model.optimizer.variables]:
        assert variable.value.sharding.is_fully_replicated
        assert len(variable.value.sharding.device_set) == 8


@pytest.mark.parametrize("name", MOSTLY_BOTH)
def test_samples_with_several_labels_are_compared_on_all_devices(name):
    images, classes = images_and_labels(80)
    labels = np.eye(5, dtype="int32")[classes] | np.eye(5, dtype="int32")[[3]]
    weights = []
    for each in ("none", name):
        with distribution.strategy(each, model_devices_of(each)).scope():
            memory = CrossBatchMemory(2, 40, start_step=0, label_size=5, name="memory")
            model = MetricLearningModel(network(), memory=memory)
            loss = losses.get("multi_similarity", same_class=losses.have_common_label)
            model.compile(keras.optimizers.SGD(0.1), loss=loss)
        model.fit(images, labels, batch_size=40, epochs=2, shuffle=False, verbose=0)
        model.evaluate(images, labels, batch_size=40, verbose=0)
        np.testing.assert_array_equal(memory.labels, labels)
        weights.append(model.get_weights())
    for expected, found in zip(*weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_none_is_the_first_device():
    with distribution.strategy("data_parallel").scope():
        model = model_in("none")
        model.fit(*images_and_labels(40), batch_size=40, verbose=0)
    assert distribution.strategy_of(model) is None
    for variable in [*model.variables, *model.optimizer.variables]:
        assert variable.value.devices() == {jax.devices()[0]}


def fails_in_one_line(message, function, *arguments, **options):
    with pytest.raises(ValueError, match=message) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "compiled"), [({}, True), ({"run_eagerly": True}, False)])
def test_steps_are_compiled_unless_they_are_to_be_looked_into(options, compiled):
    model = MetricLearningModel(network())
    model.compile("sgd", loss="contrastive", jit_compile=False, **options)
    assert model.jit_compile is compiled


def test_impossible_divisions_are_reported_in_one_line():
    fails_in_one_line(
        "divide the number of devices, 8; got 3", distribution.strategy, "model_parallel", 3
    )
    fails_in_one_line("at least 1", distribution.strategy, "model_parallel", 0)
    fails_in_one_line("it must be 1; got 2", distribution.strategy, "data_parallel", 2)
    fails_in_one_line(
        "KERAS_BACKEND=tensorflow python -m ccp_dml.main --strategy=mirrored",
        distribution.strategy,
        "mirrored",
    )
    fails_in_one_line(
        "proxies/vectors has 22 rows, which 4 devices cannot share equally",
        model_in,
        "model_parallel",
        4,
        num_classes=11,
    )


@pytest.mark.parametrize("index", ["0", "first"])
def test_hosts_that_cannot_find_each_other_are_an_error(index, monkeypatch):
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", "localhost:1")
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", index)
    strategies._join_hosts.cache_clear()
    # It is too late: JAX has already computed something.
    reason = "before any" if index == "0" else "invalid literal"
    message = f"KERAS_DISTRIBUTION_PROCESS_ID describe cannot train together: .*{reason}"
    jax.devices()
    fails_in_one_line(message, distribution.strategy, "data_parallel")


@pytest.mark.parametrize(("name", "shares"), [("data_parallel", 8), ("model_parallel", 4)])
def test_batches_that_cannot_be_divided_are_not_trained_on(name, shares):
    with distribution.strategy(name, 8 // shares).scope():
        model = MetricLearningModel(network())
        model.compile("sgd", loss="contrastive")
    assert distribution.count_shares(model) == shares
    before = model.get_weights()
    images, labels = images_and_labels(30)
    message = f"the {shares} shares of a batch must be equal"
    fails_in_one_line(f"{message}.*; got 6", model.fit, images, labels, batch_size=24, verbose=0)
    fails_in_one_line(f"{message}.*; got 6", model.evaluate, images, labels, batch_size=24)
    batches = tf.data.Dataset.from_tensor_slices((images, labels))
    fails_in_one_line(message, model.fit, batches.batch(6, drop_remainder=True), verbose=0)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    fails_in_one_line(message, model.fit, batches.batch(24), verbose=0)


def test_an_optimizer_of_another_scope_is_an_error():
    optimizer = keras.optimizers.Adam(0.01)
    with distribution.strategy("data_parallel").scope():
        model = ProxyModel(network(), 5)
    model.compile(optimizer, loss="contrastive")
    fails_in_one_line("in the scope of its strategy", model.fit, *images_and_labels(32))


@pytest.mark.parametrize("name", MOSTLY_BOTH)
def test_any_number_of_inputs_is_embedded(name):
    images, _ = images_and_labels(21)
    expected = embed(model_in("none"), images)
    model = model_in(name, model_devices_of(name))
    batches = tf.data.Dataset.from_tensor_slices(images).batch(6)
    for found in (
        embed(model, images, batch_size=10),
        embed(model, batches),
        model.predict(images, batch_size=10, verbose=0),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_network_that_was_never_called_is_embedded():
    inputs = np.ones((3, 4), "float32")
    model = keras.Sequential([keras.layers.Dense(2, "relu")])
    np.testing.assert_allclose(embed(model, inputs)[0], embed(model, inputs[:1])[0])


@pytest.mark.parametrize("name", ["none", "data_parallel", "model_parallel"])
def test_a_function_is_compiled_once_and_sees_the_weights_as_they_are(name):
    traced = []
    strategy = distribution.strategy(name)
    with strategy.scope():
        scale = keras.Variable(np.float32(2))
        model = MetricLearningModel(network())

        def function(batch):
            traced.append(batch.shape)
            return batch * scale

        mapped = BatchMap(function, [scale], distribution.strategy_of(model))
    rows = np.arange(26.0, dtype="float32").reshape(13, 2)
    counts = []
    np.testing.assert_array_equal(
        mapped([rows[:6], rows[6:12], rows[12:]], counts.append), 2 * rows
    )
    assert counts == [1, 1, 1]
    scale.assign(np.float32(3))
    np.testing.assert_array_equal(mapped([rows[:6], rows[6:]][:1]), 3 * rows[:6])
    assert traced == [(6, 2) if name == "none" else (8, 2)]


def test_no_batches_are_an_error():
    with pytest.raises(ValueError, match="no batches"):
        BatchMap(lambda batch: batch, [], None)([])


def test_one_process_is_the_chief_and_waits_for_nobody():
    numbers = np.array([1.5, np.nan])
    assert distribution.num_workers() == 1
    assert distribution.is_chief()
    assert distribution.sum_over_workers(numbers) is numbers
    distribution.wait_for_all()


class Readings(keras.callbacks.Callback):
    """Counts how often the training thread reads a value, from the first step to the last.

    Setting the variables of the model, of which there may be hundreds, counts as well.
    """

    def __init__(self, monkeypatch):
        super().__init__()
        self.counts = []
        self._count = 0
        array = type(jax.numpy.zeros(()))
        for owner, name in [
            (array, "__float__"),
            (array, "block_until_ready"),
            # How Keras reads logs, and what it does before every look at a variable.
            (keras.src.backend, "convert_to_numpy"),
            (keras.Model, "jax_state_sync"),
        ]:
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def _counting(self, function):
        def count_and_call(value, *args, **kwargs):
            # Another thread of Keras may wait: it reads logs that no callback needs at once. A step
            # that is traced has no values: Keras before 3.15 tries to read them all the same.
            self._count += threading.current_thread() is threading.main_thread() and not isinstance(
                value, jax.core.Tracer
            )
            return function(value, *args, **kwargs)

        return count_and_call

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self._count = 0
        elif batch == self.params["steps"] - 1:
            self.counts.append(self._count)


class ReadLoss(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])


@pytest.mark.parametrize("name", ["none", *MOSTLY_BOTH])
def test_steps_are_handed_out_without_waiting_for_the_one_before(name, tmp_path, monkeypatch):
    """The next batch is read, and sent to the devices, while they compute."""
    model = model_in(name, model_devices_of(name))
    images, labels = images_and_labels(80)
    batches = tf.data.Dataset.from_tensor_slices((images, labels % 40)).repeat().batch(40)
    pool = tf.data.Dataset.from_tensor_slices((images, np.arange(80) % 40)).batch(40)

    def fit(*callbacks):
        readings = Readings(monkeypatch)
        rounds = AlternatingProjections(lambda round: pool, patience=1)
        model.fit(
            batches,
            epochs=3,
            steps_per_epoch=6,
            verbose=0,
            callbacks=[
                RetrievalValidation((images, labels), patience=60),
                TerminateOnFailure(),
                rounds,
                HistoryLog(tmp_path / "history.csv"),
                *callbacks,
                ProgressLine("training", 18),
                TrainingState(tmp_path / "checkpoints", [rounds]),
                readings,
            ],
        )
        return readings.counts

    assert fit() == [0, 0, 0]
    assert min(fit(ReadLoss())) >= 5


def test_gradients_are_cached_by_all_devices():
    weights = []
    images, labels = images_and_labels(160)
    # Parts of 8 samples for four groups of devices, and of 4 samples for eight devices.
    for name, parts in [("none", 1), ("model_parallel", 5), ("data_parallel", 10)]:
        with distribution.strategy(name, model_devices_of(name)).scope():
            model = ProxyModel(network(), 10, 2, gradient_cache_parts=parts)
            model.compile(keras.optimizers.SGD(0.1), loss="multi_similarity")
        model.fit(images, labels, batch_size=40, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for found in weights[1:]:
        for weight, expected in zip(found, weights[0], strict=True):
            np.testing.assert_allclose(weight, expected, atol=1e-5)


@pytest.fixture
def float64():
    """Lets JAX compute in float64."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


ALL_PARTS = "ccp+xbm+dvml"
FEW_STRATEGIES = ["model_parallel:2"]
STRATEGIES = ["data_parallel", "model_parallel:2", "model_parallel:8"]


@pytest.mark.parametrize(
    ("case", "names"),
    [
        (ALL_PARTS, FEW_STRATEGIES),
        *(
            pytest.param(case, STRATEGIES, marks=pytest.mark.slow)
            for case in ("ccp", "ccp+xbm", "ccp+dvml", "ccp+hard", ALL_PARTS)
        ),
    ],
)
def test_eight_devices_train_as_one(case, names, float64):
    one = train(case, "none")
    weights = [name for name in one if name.startswith(f"{case}/weights")]
    assert "float32" not in {one[name].dtype.name for name in weights}
    for name in names:
        found = train(case, name)
        check_equal(found, one, case)
        # If everything had been computed on one device, the results would be equal bit for bit.
        assert any((found[weight] != one[weight]).any() for weight in weights)


# So many that a step with `sampled_classes` does not look at all of them.
NUM_CLASSES = 128
EMBEDDING_SIZE = 8


def compile_step(method, case):
    """The program that XLA compiles from a step of a method, as in `fit`."""
    parts = set(method.split("+"))
    settings = settings_of(
        case,
        embedding_size=EMBEDDING_SIZE,
        samples_per_class=8,
        sampled_classes=3 if "sampled" in parts else 0,
    )
    model = small_model("+".join(parts - {"sampled"}), settings, NUM_CLASSES)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    shardings = jax.tree.map(lambda value: value.sharding, state)
    batch = images_and_labels(40)
    strategy = distribution.strategy_of(model)
    if strategy is not None:
        layouts = [strategy.get_data_layout(each.shape).backend_layout for each in batch]
        batch = tuple(map(jax.device_put, batch, layouts))
    step = jax.jit(model.train_step, donate_argnums=0, out_shardings=(None, shardings))
    return step.lower(state, batch).compile().as_text()


METHODS = [
    "plain",
    "ccp",
    "ccp+sampled",
    "xbm",
    "ccp+xbm",
    "dvml",
    "ccp+dvml",
    "xbm+dvml",
    "ccp+xbm+dvml",
    "ccp+xbm+dvml+sampled",
]
STEPS = [
    *(("plain", case) for case in CASES if case != "contrastive"),
    *((method, "contrastive") for method in METHODS),
]
FEW_STEPS = [
    ("plain", "distance_weighted"),
    ("ccp+sampled", "contrastive"),
    ("ccp+xbm+dvml", "contrastive"),
]


@pytest.mark.parametrize(
    ("name", "model_devices"),
    [
        ("model_parallel", 2),
        pytest.param("none", 1, marks=pytest.mark.slow),
        pytest.param("data_parallel", 1, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("method", "case"), slow_except(FEW_STEPS, STEPS))
def test_steps_are_compiled_with_static_shapes_and_without_python(
    method, case, name, model_devices
):
    with distribution.strategy(name, model_devices).scope():
        program = compile_step(method, case)
    assert "ENTRY" in program
    shapes = re.findall(r"\b[a-z]+\d*\[([^\]]*)\]\{", program)
    assert shapes
    assert all(re.fullmatch(r"[\d,]*", shape) for shape in shapes)
    for outside in ("callback", "infeed", "outfeed", "host"):
        assert not re.search(rf"{outside}[\w.]*\(|target=\"[^\"]*{outside}", program)
    is_divided = bool(re.search(r" all-(reduce|gather)", program))
    assert is_divided == (name != "none")
    if name == "model_parallel" and "ccp" in method:
        # No device ever sees all of the proxies.
        assert not re.search(rf"\[{2 * NUM_CLASSES},{EMBEDDING_SIZE}\]", program)
        assert re.search(rf"\[{NUM_CLASSES},{EMBEDDING_SIZE}\]", program)
