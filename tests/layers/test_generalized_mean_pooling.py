import keras
import numpy as np
import pytest

from ccp_dml.layers import GeneralizedMeanPooling, GlobalPooling
from tests.automatic_gradients import value_and_gradients

pytestmark = pytest.mark.both_backends


def built(layer, features):
    layer.build(features.shape)
    return layer


def pool_and_differentiate(layer, features):
    """The sum of the pooled features, and its gradients with respect to exponent and features."""

    def total(exponent, inputs):
        return keras.ops.sum(layer.stateless_call([exponent], [], inputs)[0])

    exponent = layer.get_weights()[0]
    return value_and_gradients(total, exponent, features)


@pytest.mark.parametrize("exponent", [1.0, 2.5, 3.0, 20.0])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 12, 5)])
def test_generalized_mean(exponent, shape, generator):
    features = generator.uniform(0, 9, shape)
    flat = features.reshape(2, 12, 5)
    layer = built(GeneralizedMeanPooling(exponent), features)
    expected = (flat**exponent).mean(1) ** (1 / exponent)
    np.testing.assert_allclose(layer(features.astype("float32")), expected, rtol=1e-5)
    assert layer.compute_output_shape(shape) == (2, 5)


def test_between_average_and_maximum(generator):
    features = generator.uniform(0, 2, (3, 4, 4, 2)).astype("float32")
    average = np.asarray(built(GeneralizedMeanPooling(1.0), features)(features))
    np.testing.assert_allclose(average, GlobalPooling("average")(features), rtol=1e-5)
    nearly_largest = built(GeneralizedMeanPooling(2000.0), features)(features)
    np.testing.assert_allclose(nearly_largest, GlobalPooling("max")(features), rtol=3e-3)


def test_gradients_are_those_of_finite_differences(generator):
    features = generator.uniform(0.1, 2, (2, 3, 2, 2))
    layer = built(GeneralizedMeanPooling(dtype="float64"), features)
    _, (by_exponent, by_features) = pool_and_differentiate(layer, features)

    def total(exponent, features):
        return ((features**exponent).mean((1, 2)) ** (1 / exponent)).sum()

    step = 1e-6
    expected = (total(3 + step, features) - total(3 - step, features)) / (2 * step)
    np.testing.assert_allclose(by_exponent, expected, rtol=1e-4)
    for index in [(0, 0, 0, 0), (1, 2, 1, 1)]:
        offset = np.zeros_like(features)
        offset[index] = step
        expected = (total(3, features + offset) - total(3, features - offset)) / (2 * step)
        np.testing.assert_allclose(np.asarray(by_features)[index], expected, rtol=1e-4)


@pytest.mark.parametrize("exponent", [1.0, 3.0, 50.0])
@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30, 1e4, 1e10])
def test_values_and_gradients_are_finite(exponent, value):
    features = np.full((2, 3, 3, 2), value, "float32")
    features[0, 0, 0, 0] = 1.0
    layer = built(GeneralizedMeanPooling(exponent), features)
    total, gradients = pool_and_differentiate(layer, features)
    for array in (total, *gradients):
        assert np.all(np.isfinite(array))
    # Beside a positive position, one at or below 0 does not take part.
    if value <= 0:
        assert np.asarray(gradients[1])[0, 1, 1, 0] == 0


def test_exponents_below_one_count_as_one(generator):
    features = generator.uniform(0, 2, (1, 4, 3)).astype("float32")
    layer = built(GeneralizedMeanPooling(), features)
    layer.set_weights([np.array(-2.0)])
    np.testing.assert_allclose(layer(features), features.mean(1), rtol=1e-5)
    with pytest.raises(ValueError, match=r"exponent must be at least 1\.0; got 0\.5"):
        GeneralizedMeanPooling(0.5)


def test_config_and_trainability():
    layer = GeneralizedMeanPooling.from_config(GeneralizedMeanPooling(4.0).get_config())
    layer.build((None, 2, 2, 3))
    assert [np.asarray(value) for value in layer.get_weights()] == [4.0]
    assert len(layer.trainable_weights) == 1
