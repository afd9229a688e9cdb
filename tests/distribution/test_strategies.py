import json

import pytest
import tensorflow as tf

from ccp_dml import distribution
from ccp_dml.distribution.tensorflow import strategies


def test_unknown_strategies_are_named():
    with pytest.raises(ValueError, match="one of none, mirrored, multi_worker; got 'horovod'"):
        distribution.strategy("horovod")


@pytest.mark.parametrize("name", ["data_parallel", "model_parallel"])
def test_strategies_of_another_backend_say_how_to_choose_it(name):
    message = f"KERAS_BACKEND=jax python -m ccp_dml.main --strategy={name}"
    with pytest.raises(ValueError, match=message) as error:
        distribution.strategy(name)
    assert "\n" not in str(error.value)


def test_only_jax_shares_variables_among_devices():
    with pytest.raises(ValueError, match="with mirrored it must be 1; got 2"):
        distribution.strategy("mirrored", model_devices=2)


def test_without_a_gpu_all_logical_cpus_are_mirrored(monkeypatch):
    devices = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", devices.extend)
    strategies._make_mirrored.__wrapped__()
    assert devices == [each.name for each in tf.config.list_logical_devices("CPU")]
    assert len(devices) > 1


def test_a_strategy_is_made_once(monkeypatch):
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices: object())
    strategies._make_mirrored.cache_clear()
    assert distribution.strategy("mirrored") is distribution.strategy("mirrored")
    strategies._make_mirrored.cache_clear()


CLUSTER = {"worker": ["localhost:1", "localhost:2"]}


@pytest.mark.parametrize(
    "config",
    [
        "",
        "worker",
        "[]",
        json.dumps({"cluster": CLUSTER}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": {"worker": "localhost"}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": CLUSTER | {"ps": ["a:1"]}, "task": {"type": "worker", "index": 0}}),
    ],
)
def test_a_wrong_tf_config_is_explained_in_one_line(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="TF_CONFIG") as error:
        distribution.strategy("multi_worker")
    assert "\n" not in str(error.value)
    assert config in str(error.value)


def test_several_workers_must_be_the_first_thing_a_program_makes(monkeypatch):
    tf.constant(1.0)
    config = {"cluster": CLUSTER, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(ValueError, match="at the start of the program"):
        distribution.strategy("multi_worker")
