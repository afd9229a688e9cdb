"""What the `keras.distribution` in whose scope this is called runs on."""

import os

import jax
import keras


def count_replicas() -> int:
    """Into how many shares a batch is divided."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas


def list_local_devices() -> list[str]:
    """The devices of this machine that compute, such as `"TPU:0"`."""
    devices = jax.local_devices()
    if keras.distribution.distribution() is None:
        devices = devices[:1]
    return [f"{device.platform.upper()}:{device.id}" for device in devices]


def name_of_worker() -> str:
    """What this process of several is called, such as `"process 1"`."""
    return f"process {jax.process_index()}"


def count_gpus() -> int:
    """How many GPUs this machine has; little of their memory is taken."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return sum(device.platform == "gpu" for device in jax.local_devices())
