import keras
import pytest

from ccp_dml.experiment.precision import precision_scope


def test_the_policy_before_comes_back_whatever_happens():
    before = keras.config.dtype_policy()
    with precision_scope("mixed_bfloat16"):
        inner = keras.layers.Dense(2)
        with precision_scope("float64"):
            assert keras.layers.Dense(2).variable_dtype == "float64"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert keras.config.dtype_policy() is before
    with pytest.raises(ZeroDivisionError), precision_scope("mixed_bfloat16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy() is before
    # A layer keeps the policy it was made with, even if it is built later.
    inner.build((None, 3))
    assert (inner.compute_dtype, inner.kernel.dtype) == ("bfloat16", "float32")


def test_an_unknown_policy_is_refused_and_changes_nothing():
    before = keras.config.dtype_policy()
    with pytest.raises(ValueError, match="float17"), precision_scope("float17"):
        pass
    assert keras.config.dtype_policy() is before
