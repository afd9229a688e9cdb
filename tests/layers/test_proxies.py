import keras
import numpy as np
import pytest

from ccp_dml.layers import Proxies


@pytest.mark.both_backends
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


@pytest.mark.both_backends
def test_proxies_save_and_load(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Proxies(num_classes=3, proxies_per_class=2)(inputs))
    model.save(tmp_path / "proxies.keras")
    copy = keras.models.load_model(tmp_path / "proxies.keras")
    np.testing.assert_array_equal(model.get_weights()[0], copy.get_weights()[0])
    assert copy.layers[-1].labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_proxies_need_positive_counts():
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1; got 0"):
        Proxies(0)
    with pytest.raises(
        ValueError, match="proxies_per_class must be a whole number of at least 1; got -1"
    ):
        Proxies(2, -1)
    with pytest.raises(ValueError, match=r"must be a whole number of at least 1; got 2\.5"):
        Proxies(2, 2.5)


def test_proxies_of_some_classes_are_replaced(two_replicas):
    with two_replicas.scope():
        proxies = Proxies(num_classes=5, proxies_per_class=2)
        proxies.build((None, 3))
    expected = proxies.by_class().copy()
    expected[1:4] = np.arange(18).reshape(3, 2, 3)
    proxies.assign_by_class(expected[1:4], first_class=1)
    for copy in two_replicas.experimental_local_results(proxies.vectors.value):
        np.testing.assert_array_equal(copy.numpy().reshape(2, 5, 3).swapaxes(0, 1), expected)
