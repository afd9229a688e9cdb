"""Devices of the `keras.distribution` in whose scope functions are called."""

import os

import jax
import keras


def count_replicas() -> int:
    """Returns the number of shares into which a batch is divided."""
    return replicas_of(keras.distribution.distribution())


def replicas_of(
    distribution: keras.distribution.DataParallel | keras.distribution.ModelParallel | None,
) -> int:
    """Returns the number of replicas of a distribution, 1 if it is `None`.

    Args:
        distribution: The distribution.
    """
    if distribution is None:
        return 1
    # Keras before 3.15 has no `num_model_replicas`.
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def list_local_devices() -> list[str]:
    """Lists the devices of this machine that compute, such as `"TPU:0"`."""
    devices = jax.local_devices()
    if keras.distribution.distribution() is None:
        devices = devices[:1]
    return [f"{device.platform.upper()}:{device.id}" for device in devices]


def name_of_worker() -> str:
    """Returns the name of this process among several, such as `"process 1"`."""
    return f"process {jax.process_index()}"


def count_gpus() -> int:
    """Returns the number of GPUs of this machine, without allocating much of their memory."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return sum(device.platform == "gpu" for device in jax.local_devices())
