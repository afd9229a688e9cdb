"""The private parts of Keras that the package uses still exist, and do what they did."""

import importlib
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.models import keras_internals

CHANGED = (
    "Keras {version} no longer has {name}, which ccp_dml/models/keras_internals.py needs: "
    "{advice}. Until then, require an earlier version of Keras in pyproject.toml."
)


def changed(name, advice):
    return CHANGED.format(version=keras.version(), name=name, advice=advice)


class Outer(keras.layers.Layer):
    """A layer whose inner layer is in no list of `layers`."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(2)


def test_layers_are_found_however_deep():
    assert hasattr(keras.Model, "_flatten_layers"), changed(
        "Layer._flatten_layers", "walk through the layers and their attributes in flatten_layers"
    )
    outer, dense = Outer(), keras.layers.Dense(3)
    model = keras.Sequential([keras.layers.TimeDistributed(dense), keras.Sequential([outer])])
    found = set(map(id, keras_internals.flatten_layers(model)))
    assert {id(model), id(outer), id(outer.inner), id(dense)} <= found


def test_steps_that_only_accumulate_gradients_are_counted():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    assert hasattr(optimizer, "_iterations"), changed(
        "Optimizer._iterations", "find another number that differs from step to step"
    )
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    for step in range(5):
        assert int(keras_internals.count_steps(optimizer)) == step
        optimizer.apply([np.ones(1, "float32")], [variable])


def test_shares_of_unequal_size_do_not_stop_a_built_model(two_replicas):
    message = changed(
        "Model._maybe_symbolic_build(iterator, data_batch)",
        "find what fit calls before the first step, and see whether it still averages the shares "
        "of the replicas; if it does not, DistributedModel can go",
    )
    found = getattr(keras.Model, "_maybe_symbolic_build", None)
    assert found is not None, message
    assert list(inspect.signature(found).parameters) == ["self", "iterator", "data_batch"], message
    batches = tf.data.Dataset.from_tensor_slices((np.ones((15, 3), "float32"), np.ones(15)))

    def fit(base):
        class Model(base):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(1)

            def build(self, input_shape):
                self.dense.build(input_shape)
                self.built = True

            def call(self, inputs):
                return self.dense(inputs)

        with two_replicas.scope():
            model = Model()
            model.build((None, 3))
            model.compile("sgd", "mse")
        model.fit(batches.batch(15), verbose=0)

    fit(keras_internals.DistributedModel)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        fit(keras.Model)


def test_several_workers_take_the_logs_of_their_first_replica(two_replicas, monkeypatch):
    trainer = importlib.import_module("keras.src.backend.tensorflow.trainer")
    original = getattr(trainer, "reduce_per_replica", None)
    message = changed(
        "reduce_per_replica(values, strategy, reduction)",
        "see in Model._make_function whether the logs of a step are still averaged",
    )
    assert original is not None, message
    assert list(inspect.signature(original).parameters) == ["values", "strategy", "reduction"]
    # tests/distribution/test_replicas.py checks with two workers whether Keras still needs it.
    monkeypatch.setattr(trainer, "reduce_per_replica", original)
    keras_internals.keep_logs_of_first_replica()
    keras_internals.keep_logs_of_first_replica()
    assert trainer.reduce_per_replica.__wrapped__ is original

    def different(context):
        return tf.constant(float(context.replica_id_in_sync_group))

    values = {"loss": two_replicas.experimental_distribute_values_from_function(different)}
    # A single worker is left to Keras.
    reduced = trainer.reduce_per_replica(values, two_replicas, "auto")
    assert float(reduced["loss"]) == 0.5
    monkeypatch.setattr(keras_internals, "_is_multi_worker", lambda strategy: True)
    reduced = trainer.reduce_per_replica(values, two_replicas, "auto")
    assert float(reduced["loss"]) == 0.0


STEPS = 4
CHANGED_STEPS = changed(
    "what fit does with jax_state_sync and train_function",
    "read keras/src/backend/jax/trainer.py, and adapt sync_variables and wrap_train_function",
)


def fit_one_weight(callback):
    """Takes steps from kernel 1 and bias 0 towards the output 3 for the input 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    rows = np.ones((STEPS, 1), "float32")
    model.fit(rows, 3 * rows, batch_size=1, shuffle=False, verbose=0, callbacks=[callback])
    return model.weights[0].numpy().item()


def expected_kernels(steps, doubled_after=None):
    """Gradient descent of (w + b - 3)^2 by hand: the kernel after each step."""
    kernel, bias, kernels = 1.0, 0.0, []
    for step in range(steps):
        gradient = 2 * (kernel + bias - 3)
        kernel, bias = kernel - 0.1 * gradient, bias - 0.1 * gradient
        kernels.append(kernel)
        if step == doubled_after:
            kernel *= 2
    return kernels


@pytest.mark.both_backends
def test_variables_are_read_and_written_between_two_steps():
    class ReadAndDouble(keras.callbacks.Callback):
        """Reads the kernel after every step, and doubles it after the second."""

        def __init__(self):
            super().__init__()
            self.kernels = []

        def on_train_batch_end(self, batch, logs=None):
            keras_internals.sync_variables(self.model)
            kernel = self.model.weights[0]
            self.kernels.append(kernel.numpy().item())
            if batch == 1:
                kernel.assign(2 * kernel)

    reading = ReadAndDouble()
    kernel = fit_one_weight(reading)
    expected = expected_kernels(STEPS, doubled_after=1)
    np.testing.assert_allclose(reading.kernels, expected, rtol=1e-6, err_msg=CHANGED_STEPS)
    assert kernel == reading.kernels[-1]


@pytest.mark.both_backends
def test_steps_are_left_out():
    class TakeTheLastTwo(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.count = 0

            def take_step(train):
                self.count += 1
                return train() if self.count > STEPS - 2 else {"loss": 0.0}

            self.before = keras_internals.wrap_train_function(self.model, take_step)

        def on_epoch_end(self, epoch, logs=None):
            self.model.train_function = self.before

    skipping = TakeTheLastTwo()
    kernel = fit_one_weight(skipping)
    assert skipping.count == STEPS
    np.testing.assert_allclose(kernel, expected_kernels(2)[-1], rtol=1e-6, err_msg=CHANGED_STEPS)


def test_predict_is_traced_once_for_batches_of_any_size():
    advice = "see in Trainer.predict what predict_function is called with, and trace it for that"
    assert hasattr(keras.Model, "make_predict_function"), changed(
        "Trainer.make_predict_function", advice
    )
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    rows = np.arange(21, dtype="float32").reshape(7, 3)
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(5)
    keras_internals.trace_predict_function(model, batches)
    traced = model.predict_function
    outputs = model.predict(batches, verbose=0)
    assert model.predict_function is traced
    assert traced.experimental_get_tracing_count() == 1, changed(
        "Trainer.predict_function([batch])", advice
    )
    np.testing.assert_allclose(outputs, rows @ model.get_weights()[0], rtol=1e-5)


@pytest.mark.parametrize("case", ["eager", "not built", "several steps", "unknown shape"])
def test_predict_is_left_to_keras(case):
    model = keras.Sequential([keras.layers.Dense(2)])
    if case != "not built":
        model.build((None, 3))
    model.compile(
        run_eagerly=case == "eager", steps_per_execution=2 if case == "several steps" else 1
    )
    rows = np.ones((4, 3), "float32")
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(2)
    if case == "unknown shape":
        batches = tf.data.Dataset.from_generator(
            lambda: iter([rows]), output_signature=tf.TensorSpec(None, tf.float32)
        )
    keras_internals.trace_predict_function(model, batches)
    assert model.predict_function is None
