import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.layers import GlobalPooling, LipschitzNormalization, Proxies
from tests import naive


def gradient_of(layer, inputs, upstream):
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
    return tape.gradient(outputs, inputs, output_gradients=tf.constant(upstream)).numpy()


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


def test_normalization_at_zero_has_the_identity_as_gradient():
    upstream = np.array([[1.0, -2.0]], "float32")
    gradient = gradient_of(LipschitzNormalization(), np.zeros((1, 2), "float32"), upstream)
    np.testing.assert_array_equal(gradient, upstream)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_normalization_of_half_precision_does_not_overflow(dtype):
    outputs = LipschitzNormalization(dtype=dtype)(np.array([[3000.0, 4000.0], [0.3, 0.4]]))
    assert outputs.dtype == dtype
    np.testing.assert_allclose(tf.cast(outputs, "float64"), [[0.6, 0.8], [0.3, 0.4]], rtol=5e-3)


def test_normalization_of_integers():
    np.testing.assert_allclose(LipschitzNormalization()(np.array([[3, 4]])), [[0.6, 0.8]])


def test_pooling(generator):
    features = generator.standard_normal((2, 3, 4, 5)).astype("float32")
    average, largest = features.mean((1, 2)), features.max((1, 2))
    for pooling, expected in [("average", average), ("max", largest), ("sum", average + largest)]:
        layer = GlobalPooling(pooling)
        np.testing.assert_allclose(layer(features), expected, rtol=1e-5, atol=1e-6)
        assert layer.compute_output_shape(features.shape) == (2, 5)
        assert GlobalPooling.from_config(layer.get_config()).pooling == pooling
    with pytest.raises(ValueError, match="average, max, sum; got 'min'"):
        GlobalPooling("min")


def test_proxies_are_blocks_of_one_proxy_a_class(generator):
    proxies = Proxies(num_classes=3, proxies_per_class=2)
    proxies.build((None, 4))
    by_class = generator.standard_normal((3, 2, 4)).astype("float32")
    proxies.assign_by_class(by_class)
    for row, vector in enumerate(proxies.vectors.numpy()):
        assert proxies.labels[row] == row % 3
        np.testing.assert_array_equal(vector, by_class[row % 3, row // 3])
    np.testing.assert_array_equal(proxies.by_class(), by_class)
    assert [weight.path for weight in proxies.trainable_weights] == [proxies.vectors.path]
    embeddings = generator.standard_normal((5, 4)).astype("float32")
    np.testing.assert_allclose(
        proxies(embeddings), embeddings @ proxies.vectors.numpy().T, rtol=1e-5
    )


def test_proxies_save_and_load(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Proxies(num_classes=3, proxies_per_class=2)(inputs))
    model.save(tmp_path / "proxies.keras")
    copy = keras.models.load_model(tmp_path / "proxies.keras")
    np.testing.assert_array_equal(model.get_weights()[0], copy.get_weights()[0])
    assert copy.layers[-1].labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_proxies_need_positive_counts():
    with pytest.raises(ValueError, match="num_classes must be at least 1; got 0"):
        Proxies(0)
    with pytest.raises(ValueError, match="proxies_per_class must be at least 1; got -1"):
        Proxies(2, -1)
