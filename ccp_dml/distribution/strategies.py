"""Strategies of `tf.distribute` by name."""

import tensorflow as tf

from ccp_dml.checks import check_one_of

STRATEGIES = ("none", "mirrored", "multi_worker")


def strategy(name: str) -> tf.distribute.Strategy:
    """Returns what spreads training over devices.

    Under all of them a batch is that of all devices together, and training takes the steps of one
    device up to rounding.

    Args:
        name: `"none"`: the first GPU of this machine, or its CPU. `"mirrored"`: all GPUs of this
            machine or, where it has none, its logical CPUs. `"multi_worker"`: the same on each of
            the machines that the environment variable `TF_CONFIG` lists; it has to be made before
            anything else is computed.

    Returns:
        A strategy; models are made and fitted in its `scope()`.

    Raises:
        ValueError: If the name is unknown.

    Example:

    >>> with strategy("none").scope():
    ...     model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    """
    check_one_of("strategy", name, STRATEGIES)
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MultiWorkerMirroredStrategy()
