import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.distribution import BatchMap


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, strides=2), keras.layers.Flatten()]
    )


# The last batch can be short, and an odd number of batches leaves none for the second replica.
@pytest.mark.parametrize("count", [1, 6, 13])
def test_two_replicas_compute_what_one_does_bit_for_bit(count, generator, two_replicas):
    images = generator.uniform(size=(count, 8, 8, 1)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(count))).batch(3)
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = network()
        counts = []
        embed = BatchMap(lambda batch, model=model: model(batch[0], training=False), [], strategy)
        results.append(embed(batches, counts.append))
        assert sum(counts) == len(batches)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], model.predict(images, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_function_is_traced_once(two_replicas):
    traced = []

    def function(batch):
        traced.append(batch)
        return batch

    mapped = BatchMap(function, [], two_replicas)
    for _ in range(3):
        np.testing.assert_array_equal(mapped([np.ones((2, 3))] * 3), np.ones((6, 3)))
    assert len(traced) == two_replicas.num_replicas_in_sync


def test_no_batches_are_an_error():
    with pytest.raises(ValueError, match="no batches"):
        BatchMap(tf.identity, [], tf.distribute.get_strategy())([])
