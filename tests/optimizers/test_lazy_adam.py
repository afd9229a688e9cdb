import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml.optimizers import LazyAdam, check_row_updates, update_rows


def table(rows=4):
    values = np.linspace(-1, 1, 3 * rows).reshape(rows, 3)
    return keras.Variable(values.astype("float32"), name="proxies")


def train(optimizer, variable, steps):
    """Applies gradients of some rows, `(rows, gradient)`, one after the other."""
    optimizer.build([variable])
    for rows, gradient in steps:
        update_rows(
            optimizer,
            ops.convert_to_tensor(gradient, "float32"),
            variable,
            ops.convert_to_tensor(rows),
        )
    return variable.numpy()


@pytest.mark.both_backends
def test_each_row_is_trained_by_an_adam_that_knows_its_own_steps_only(generator):
    gradients = generator.standard_normal((6, 4, 3)).astype("float32")
    drawn = [[0, 2], [2], [3, 0], [2, 3], [0], [2]]
    values = train(
        LazyAdam(0.1), table(), [(rows, g[rows]) for rows, g in zip(drawn, gradients, strict=True)]
    )
    for row in range(4):
        alone = keras.Variable(table().numpy()[row], name="alone")
        adam = keras.optimizers.Adam(0.1)
        for rows, gradient in zip(drawn, gradients, strict=True):
            if row in rows:
                adam.apply([ops.convert_to_tensor(gradient[row])], [alone])
        np.testing.assert_allclose(values[row], alone.numpy(), atol=1e-6)
    np.testing.assert_array_equal(values[1], table().numpy()[1])


@pytest.mark.both_backends
def test_rows_that_all_have_gradients_are_trained_as_by_adam(generator):
    gradients = generator.standard_normal((5, 4, 3)).astype("float32")
    order = [2, 0, 3, 1]
    lazy = train(LazyAdam(0.1, beta_2=0.9), table(), [(order, each[order]) for each in gradients])
    variable, adam = table(), keras.optimizers.Adam(0.1, beta_2=0.9)
    for gradient in gradients:
        adam.apply([ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(lazy, variable.numpy(), atol=1e-6)


@pytest.mark.both_backends
def test_whole_gradients_are_applied_as_by_adam(generator):
    gradients = generator.standard_normal((3, 4, 3)).astype("float32")
    ours, theirs = table(), table()
    lazy, adam = LazyAdam(0.1), keras.optimizers.Adam(0.1)
    for gradient in gradients:
        lazy.apply([ops.convert_to_tensor(gradient)], [ours])
        adam.apply([ops.convert_to_tensor(gradient)], [theirs])
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_it_is_saved_with_its_state(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="proxies")(inputs))
    model.compile(LazyAdam(0.1, lazy=["proxies"], beta_1=0.8), "mse")
    model.optimizer.build(model.trainable_variables)
    kernel = model.trainable_variables[0]
    update_rows(model.optimizer, tf.ones((1, 2)), kernel, tf.constant([1]))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(loaded, LazyAdam)
    assert loaded.get_config() == model.optimizer.get_config()
    for ours, theirs in zip(loaded.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (steps,) = (each for each in loaded.variables if each.name == "row_steps_0")
    assert steps.numpy().tolist() == [0, 1, 0]


def test_the_copies_of_all_replicas_change(two_replicas):
    with two_replicas.scope():
        variable, optimizer = table(), LazyAdam(0.1)
        optimizer.build([variable])

    @tf.function
    def step(rows):
        gradient = tf.ones((2, 3))
        two_replicas.run(lambda: update_rows(optimizer, gradient, variable, rows))

    for rows in ([0, 2], [2, 3]):
        step(tf.constant(rows))
    expected = train(LazyAdam(0.1), table(), [([0, 2], np.ones((2, 3))), ([2, 3], np.ones((2, 3)))])
    for copy in two_replicas.experimental_local_results(variable.value):
        np.testing.assert_allclose(copy.numpy(), expected, atol=1e-6)


@pytest.mark.both_backends
def test_what_cannot_leave_other_rows_alone_is_named():
    variable = table()
    for optimizer in (LazyAdam(0.1), keras.optimizers.SGD(0.1)):
        check_row_updates(optimizer, variable)
    for optimizer, got in [
        (keras.optimizers.Adam(0.1), "Adam"),
        (keras.optimizers.SGD(0.1, momentum=0.9), "SGD"),
        (LazyAdam(0.1, lazy=["other"]), "LazyAdam"),
    ]:
        with pytest.raises(ValueError, match=rf"requires ccp_dml.optimizers.LazyAdam .*got {got}$"):
            check_row_updates(optimizer, variable)
    for name, value in [("weight_decay", 0.1), ("clipnorm", 1.0), ("use_ema", True)]:
        with pytest.raises(ValueError, match=f"an optimizer with {name} cannot update only"):
            check_row_updates(LazyAdam(0.1, **{name: value}), variable)
    with pytest.raises(ValueError, match="LazyAdam does not support amsgrad"):
        LazyAdam(0.1, amsgrad=True)
