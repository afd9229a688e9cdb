import keras
import numpy as np
import pytest

from tests.models.small_models import proxy_model, steps_of


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_multipliers_scale_the_steps_of_what_they_name(optimizer):
    make = getattr(keras.optimizers, optimizer)
    plain = steps_of(proxy_model(make(1e-4)))
    scaled = steps_of(proxy_model(make(1e-4), learning_rate_multipliers={"proxies": 100}))
    for (path, step), other in zip(plain.items(), scaled.values(), strict=True):
        factor = 100 if "proxies" in path.split("/") else 1
        assert np.abs(step).max() > 0
        # A step is known up to the rounding of a weight of the size of 1.
        rounding = 2 * np.finfo("float32").eps
        np.testing.assert_allclose(other, factor * step, rtol=0.02, atol=factor * rounding)


def test_compiling_again_does_not_multiply_again():
    optimizer = keras.optimizers.SGD(1e-3)
    model = proxy_model(optimizer, learning_rate_multipliers={"proxies": 10})
    once = steps_of(model)
    again = proxy_model(keras.optimizers.SGD(1e-3), learning_rate_multipliers={"proxies": 10})
    again.compile(again.optimizer, loss="contrastive")
    for one, other in zip(once.values(), steps_of(again).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_multipliers_under_two_replicas(two_replicas):
    def made():
        return proxy_model(
            keras.optimizers.Adam(1e-3), learning_rate_multipliers={"projection": 0.1}
        )

    alone = steps_of(made())
    with two_replicas.scope():
        model = made()
    for one, other in zip(alone.values(), steps_of(model).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_multipliers_are_saved(tmp_path):
    model = proxy_model(keras.optimizers.SGD(1e-3), learning_rate_multipliers={"proxies": 10})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(steps_of(model).values(), steps_of(loaded).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_multipliers_of_no_weight_are_named():
    with pytest.raises(ValueError, match=r"multiplier 'proxy' matches no weight; .*proxies"):
        proxy_model("adam", learning_rate_multipliers={"proxy": 10})
    with pytest.raises(ValueError, match=r"multipliers\['proxies'\] must be above 0; got 0"):
        proxy_model("adam", learning_rate_multipliers={"proxies": 0})
