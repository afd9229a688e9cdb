import numpy as np
import pytest
from keras import ops

from ccp_dml.layers import LipschitzNormalization
from tests import naive
from tests.automatic_gradients import value_and_gradients


def gradient_of(layer, inputs, upstream):
    _, (gradient,) = value_and_gradients(lambda inputs: ops.sum(upstream * layer(inputs)), inputs)
    return ops.convert_to_numpy(gradient)


@pytest.mark.both_backends
def test_normalization_golden(golden):
    arrays = golden("l2_normalization.npz")
    layer = LipschitzNormalization()
    np.testing.assert_allclose(layer(arrays["inputs"]), arrays["outputs"], rtol=1e-5, atol=1e-6)
    gradient = gradient_of(layer, arrays["inputs"], arrays["upstream"])
    expected = arrays["gradient"]
    assert np.linalg.norm(gradient - expected) < 1e-5 * np.linalg.norm(expected)


def test_normalization_is_lipschitz_with_constant_two(generator):
    a, b = generator.standard_normal((2, 2000, 3)) * generator.uniform(0, 2, (2, 2000, 1))
    layer = LipschitzNormalization(dtype="float64")
    moved = np.linalg.norm(layer(a) - layer(b), axis=1)
    assert (moved <= 2 * np.linalg.norm(a - b, axis=1) + 1e-12).all()
    np.testing.assert_allclose(layer(a), naive.normalize(a), rtol=1e-12)


@pytest.mark.both_backends
def test_normalization_at_zero_has_the_identity_as_gradient():
    upstream = np.array([[1.0, -2.0]], "float32")
    gradient = gradient_of(LipschitzNormalization(), np.zeros((1, 2), "float32"), upstream)
    np.testing.assert_array_equal(gradient, upstream)


@pytest.mark.both_backends
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_normalization_of_half_precision_does_not_overflow(dtype):
    outputs = LipschitzNormalization(dtype=dtype)(np.array([[3000.0, 4000.0], [0.3, 0.4]]))
    assert outputs.dtype == dtype
    np.testing.assert_allclose(ops.cast(outputs, "float32"), [[0.6, 0.8], [0.3, 0.4]], rtol=5e-3)


@pytest.mark.both_backends
def test_normalization_of_integers():
    np.testing.assert_allclose(LipschitzNormalization()(np.array([[3, 4]])), [[0.6, 0.8]])
