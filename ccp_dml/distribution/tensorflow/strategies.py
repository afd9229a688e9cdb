"""Strategies of `tf.distribute` by name."""

import functools
import json
import os

import keras
import tensorflow as tf

from ccp_dml.distribution.strategy_names import STRATEGIES, check_strategy

__all__ = ["STATIC_SHAPES", "STRATEGIES", "count_shares", "strategy", "strategy_of"]

STATIC_SHAPES = False
"""Whether all batches must have one size, which the devices divide equally: not here."""

_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def strategy(name: str, model_devices: int = 1) -> tf.distribute.Strategy:
    """Returns a strategy that distributes training over devices.

    With every strategy, a batch is the global batch of all devices, and training takes the same
    steps as on one device, up to rounding. The same name always gives the same strategy within a
    process, because TensorFlow's collectives confuse the devices of two strategies.

    Args:
        name: `"none"`: the first GPU of this machine, or its CPU. `"mirrored"`: all GPUs of this
            machine or, if it has none, all its logical CPUs. `"multi_worker"`: all GPUs, or the
            CPU, of each of the machines that the environment variable `TF_CONFIG` lists; the same
            program runs on all of them, and the strategy has to be created before TensorFlow
            computes anything.
        model_devices: Must be 1, the default: no strategy of TensorFlow shares variables among
            devices.

    Returns:
        A strategy; create and fit models in its `scope()`.

    Raises:
        ValueError: If the name is unknown or of another backend; for `"multi_worker"`, if
            `TF_CONFIG` is missing or malformed, or if TensorFlow has already computed something.

    Example:

    >>> with strategy("none").scope():
    ...     model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    """
    check_strategy(name, model_devices)
    if name == "none":
        return tf.distribute.get_strategy()
    return _make_mirrored() if name == "mirrored" else _make_multi_worker()


def strategy_of(model: keras.Model) -> tf.distribute.Strategy:
    """Returns the strategy in whose scope a model was created.

    Args:
        model: The model.
    """
    return model.distribute_strategy


def count_shares(model: keras.Model) -> int:
    """Returns the number of shares of a batch when a model is trained: the replicas.

    Args:
        model: The model.
    """
    return strategy_of(model).num_replicas_in_sync


@functools.cache
def _make_mirrored():
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@functools.cache
def _make_multi_worker():
    _check_cluster(os.environ.get("TF_CONFIG"))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "the strategy multi_worker must be created before TensorFlow computes anything: create "
            "it at the start of the program"
        ) from error


def _check_cluster(text):
    """Checks `TF_CONFIG`; TensorFlow itself would take a mistake in it for a single machine."""
    if not text:
        raise ValueError(
            "the strategy multi_worker needs the environment variable TF_CONFIG, which lists the "
            f"addresses of all workers, as in {_EXAMPLE}"
        )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = cluster[task["type"]]
        is_valid = (
            set(cluster) <= {"chief", "worker"}
            and all(isinstance(each, list) and each for each in cluster.values())
            and len(cluster.get("chief", [])) <= 1
            and 0 <= int(task["index"]) < len(addresses)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        is_valid = False
    if not is_valid:
        raise ValueError(
            "TF_CONFIG must list the addresses of all workers and say which of them this one is, "
            f"as in {_EXAMPLE}; got {text}"
        )
