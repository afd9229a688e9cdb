import keras
import numpy as np
import pytest
from keras import ops

from ccp_dml.optimizers import LayerwiseLearningRates, averaged_weights


def trained(optimizer):
    variables = [keras.Variable([0.1, 2e7], name="a"), keras.Variable([[3.0]], name="b")]
    for _ in range(3):
        optimizer.apply([ops.ones((2,)), ops.ones((1, 1))], variables)
    return variables


@pytest.mark.both_backends
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_weights_are_their_averages_for_a_while(is_wrapped):
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    if is_wrapped:
        optimizer = LayerwiseLearningRates(optimizer, [1.0, 1.0])
    a, b = trained(optimizer)
    own = a.numpy(), b.numpy()
    # The first step starts the average: 0.0, -0.1, -0.2.
    with averaged_weights(optimizer, [a]):
        np.testing.assert_allclose(a.numpy()[0], 0.25 * 0.0 + 0.25 * -0.1 + 0.5 * -0.2, atol=1e-6)
        np.testing.assert_array_equal(b.numpy(), own[1])
    np.testing.assert_array_equal(a.numpy(), own[0])
    with pytest.raises(KeyError), averaged_weights(optimizer, [a]):
        raise KeyError
    np.testing.assert_array_equal(a.numpy(), own[0])


def test_without_averages_nothing_changes():
    optimizer = keras.optimizers.SGD(0.1)
    a, b = trained(optimizer)
    own = a.numpy()
    with averaged_weights(optimizer, [a, b]):
        np.testing.assert_array_equal(a.numpy(), own)


def test_averages_under_two_replicas(two_replicas):
    with two_replicas.scope():
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        variable = keras.Variable([1.0], name="a")
        optimizer.build([variable])
    two_replicas.run(lambda: optimizer.apply([ops.ones((1,))], [variable]))
    two_replicas.run(lambda: optimizer.apply([ops.ones((1,))], [variable]))
    own = variable.numpy()
    with averaged_weights(optimizer, [variable]):
        for copy in two_replicas.experimental_local_results(variable.value):
            assert float(copy[0]) == pytest.approx(float(own[0]) + 0.1)
    np.testing.assert_array_equal(variable.numpy(), own)
