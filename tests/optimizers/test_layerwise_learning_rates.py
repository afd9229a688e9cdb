import keras
import numpy as np
import pytest
from keras import ops

from ccp_dml.optimizers import LayerwiseLearningRates


def steps_of(optimizer, steps=3):
    variables = [keras.Variable([1.0, -2.0], name="a"), keras.Variable([[3.0]], name="b")]
    before = [variable.numpy() for variable in variables]
    gradients = [ops.convert_to_tensor([0.5, 0.25]), ops.convert_to_tensor([[-1.0]])]
    for _ in range(steps):
        optimizer.apply(gradients, variables)
    return [each.numpy() - old for each, old in zip(variables, before, strict=True)]


@pytest.mark.both_backends
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Nadam", "Lion"])
def test_steps_are_multiplied(name):
    make = getattr(keras.optimizers, name)
    plain, scaled = steps_of(make(0.01)), steps_of(LayerwiseLearningRates(make(0.01), [3.0, 0.0]))
    assert np.abs(plain[0]).min() > 1e-4
    np.testing.assert_allclose(scaled[0], 3 * plain[0], rtol=1e-3)
    np.testing.assert_array_equal(scaled[1], 0.0)


@pytest.mark.both_backends
def test_weight_decay_is_multiplied_too():
    plain = steps_of(keras.optimizers.SGD(0.1, weight_decay=0.5), steps=1)
    optimizer = LayerwiseLearningRates(keras.optimizers.SGD(0.1, weight_decay=0.5), [0.5, 0.0])
    scaled = steps_of(optimizer, steps=1)
    # A single step, because the decay of a second would depend on where the first has led.
    np.testing.assert_allclose(scaled[0], 0.5 * plain[0], rtol=1e-5)
    np.testing.assert_array_equal(scaled[1], 0.0)


@pytest.mark.both_backends
def test_what_is_excluded_from_weight_decay_is_not_decayed():
    optimizer = LayerwiseLearningRates(keras.optimizers.SGD(0.1, weight_decay=0.5), [1.0, 1.0])
    optimizer.exclude_from_weight_decay(var_names=["b"])
    a, b = steps_of(optimizer, steps=1)
    np.testing.assert_allclose(a, [-0.1 * (0.5 + 0.5), -0.1 * (0.25 - 1.0)], rtol=1e-5)
    np.testing.assert_allclose(b, [[0.1]], rtol=1e-5)


@pytest.mark.both_backends
def test_moments_know_the_gradients_of_frozen_weights():
    frozen = keras.Variable(True, dtype="bool", trainable=False)
    optimizer = LayerwiseLearningRates(keras.optimizers.AdamW(0.1, weight_decay=0.1), [1.0, 1.0])
    optimizer.freeze_while(frozen, [True, False])
    a, b = steps_of(optimizer)
    np.testing.assert_array_equal(a, 0.0)
    assert b[0, 0] > 0.1
    (momentum,) = (each for each in optimizer.variables if each.name == "a_momentum")
    np.testing.assert_allclose(momentum.numpy(), (1 - 0.9**3) * np.array([0.5, 0.25]), rtol=1e-5)


@pytest.mark.both_backends
def test_the_learning_rate_is_that_of_what_is_wrapped():
    inner = keras.optimizers.Adam(0.1)
    optimizer = LayerwiseLearningRates(inner, [1.0, 1.0])
    optimizer.learning_rate = 0.25
    assert float(inner.learning_rate) == float(optimizer.learning_rate) == 0.25
    steps_of(optimizer)
    assert int(inner.iterations) == int(optimizer.iterations) == 3
    assert optimizer.variables == inner.variables


@pytest.mark.both_backends
def test_it_is_saved_with_its_multipliers_and_its_state(tmp_path):
    def train(model):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=3, batch_size=4, verbose=0)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    adam = keras.optimizers.Adam(0.1, beta_2=0.9)
    model.compile(LayerwiseLearningRates(adam, [2.0, 0.0]), "mse")
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, LayerwiseLearningRates)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.multipliers == (2.0, 0.0)
    assert len(loaded.optimizer.variables) == 6
    for ours, theirs in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    train(model)
    train(loaded)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model.get_weights()[1], 0.0)


def test_there_is_a_multiplier_for_each_variable():
    with pytest.raises(ValueError, match="multipliers must be at least 0; got -1"):
        LayerwiseLearningRates(keras.optimizers.SGD(0.1), [-1.0])
    with pytest.raises(ValueError, match="there are 1 multipliers for 2 variables"):
        steps_of(LayerwiseLearningRates(keras.optimizers.SGD(0.1), [1.0]))
