import numpy as np
import pytest

from ccp_dml.layers import GlobalPooling


@pytest.mark.both_backends
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
