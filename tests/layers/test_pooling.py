import keras
import numpy as np
import pytest

from ccp_dml.layers import POOLINGS, GlobalPooling, get_pooling

SHAPES = {"map": (2, 3, 4, 5), "tokens": (2, 12, 5), "vectors": (2, 5)}
TAKEN = {"token": ["tokens"], "none": ["vectors"]}


@pytest.mark.both_backends
@pytest.mark.parametrize("kind", ["map", "tokens"])
def test_pooling_over_positions(kind, generator):
    features = generator.standard_normal(SHAPES[kind]).astype("float32")
    flat = features.reshape(2, 12, 5)
    average, largest = flat.mean(1), flat.max(1)
    for pooling, expected in [("average", average), ("max", largest), ("sum", average + largest)]:
        layer = GlobalPooling(pooling)
        np.testing.assert_allclose(layer(features), expected, rtol=1e-5, atol=1e-6)
        assert layer.compute_output_shape(features.shape) == (2, 5)
        assert GlobalPooling.from_config(layer.get_config()).pooling == pooling


@pytest.mark.both_backends
def test_tokens_and_vectors_are_taken_as_they_are(generator):
    tokens = generator.standard_normal(SHAPES["tokens"]).astype("float32")
    np.testing.assert_array_equal(GlobalPooling("token")(tokens), tokens[:, 0])
    np.testing.assert_array_equal(GlobalPooling("none")(tokens[:, 3]), tokens[:, 3])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", SHAPES)
def test_what_cannot_be_pooled_is_said(pooling, kind):
    features = np.ones(SHAPES[kind], "float32")
    if kind in TAKEN.get(pooling, ["map", "tokens"]):
        assert get_pooling(pooling)(features).shape == (2, 5)
        return
    advice = "none" if kind == "vectors" else "average"
    with pytest.raises(ValueError, match=rf"pooling {pooling} takes .*: choose pooling {advice}$"):
        get_pooling(pooling).build(features.shape)


def test_unknown_poolings_are_named():
    with pytest.raises(ValueError, match="average, max, sum, token, none; got 'min'"):
        GlobalPooling("min")
    with pytest.raises(ValueError, match="average, max, sum, gem, gsp, token, none; got 'min'"):
        get_pooling("min")


def test_layers_with_weights_do_not_compute_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layers = {pooling: get_pooling(pooling) for pooling in POOLINGS}
    finally:
        keras.config.set_dtype_policy("float32")
    for pooling, layer in layers.items():
        expected = "float32" if pooling in ("gem", "gsp") else "bfloat16"
        assert layer.compute_dtype == expected
