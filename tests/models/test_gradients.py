import numpy as np
import pytest
from keras import ops

from ccp_dml.models import gradients as gradient_steps


@pytest.mark.both_backends
def test_order_of_the_gradient_steps():
    weights = [ops.convert_to_tensor([3.0, 4.0]), ops.convert_to_tensor([30.0])]
    gradients = [ops.convert_to_tensor([1.0, 0.0]), ops.convert_to_tensor([0.0])]
    pulled = gradient_steps.add_proximal_term(gradients, weights, [ops.zeros(2), None], 0.5)
    np.testing.assert_allclose(pulled[0], [2.5, 2.0])
    np.testing.assert_allclose(pulled[1], [0.0])
    decayed = gradient_steps.add_weight_decay(pulled, weights, 0.1, [False, True])
    np.testing.assert_allclose(decayed[0], [2.5, 2.0])
    np.testing.assert_allclose(decayed[1], [3.0])
    norm = np.sqrt(2.5**2 + 2.0**2 + 3.0**2)
    clipped = gradient_steps.clip(decayed, clip_norm=norm / 2, clip_value=1.2)
    np.testing.assert_allclose(clipped[0], [1.2, 1.0], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], [1.2], rtol=1e-6)
