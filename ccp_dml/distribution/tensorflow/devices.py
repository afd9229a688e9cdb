"""Devices of the strategy of `tf.distribute` in whose scope functions are called."""

import tensorflow as tf


def count_replicas() -> int:
    """Returns the number of shares into which a batch is divided."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def list_local_devices() -> list[str]:
    """Lists the devices of this machine that compute, such as `"GPU:0"`."""
    if tf.distribute.has_strategy():
        names = tf.distribute.get_strategy().extended.worker_devices
    else:
        devices = tf.config.list_logical_devices
        names = [device.name for device in (devices("GPU") or devices("CPU"))[:1]]
    return [name.rpartition("device:")[2] for name in names]


def name_of_worker() -> str:
    """Returns the name of this worker among several, as in `TF_CONFIG`: `"worker 1"`."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return f"{resolver.task_type} {resolver.task_id}"


def count_gpus() -> int:
    """Returns the number of GPUs of this machine, without allocating their memory."""
    return len(tf.config.list_physical_devices("GPU"))
