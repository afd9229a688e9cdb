"""Distributions of `keras.distribution` by name."""

import contextlib
import functools
import os

import jax
import keras

from ccp_dml.checks import check_whole_number
from ccp_dml.distribution.jax.devices import replicas_of
from ccp_dml.distribution.strategy_names import STRATEGIES, check_strategy

__all__ = [
    "STATIC_SHAPES",
    "STRATEGIES",
    "SingleDevice",
    "count_shares",
    "distribution_scope",
    "strategy",
    "strategy_of",
]

STATIC_SHAPES = True
"""Whether all batches must have one size, which the devices divide equally.

Here they must: steps are compiled for this size.
"""

_BATCH, _MODEL = "batch", "model"

# The rows of classes and of a memory, which grow with the data. The optimizer's moments are placed
# like their variable; the number of steps of each row is a variable of its own.
_SHARED_ROWS = {
    r"(.*/)?proxies/vectors": (_MODEL, None),
    r".*/row_steps_\d+": (_MODEL,),
    r"(.*/)?[^/]*memory[^/]*/embeddings": (_MODEL, None),
    r"(.*/)?[^/]*memory[^/]*/labels": (_MODEL,),
}

# Environment variables of `keras.distribution.initialize` and JAX.
_ADDRESSES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "JAX_COORDINATOR_ADDRESS")


@contextlib.contextmanager
def distribution_scope(
    distribution: keras.distribution.DataParallel | keras.distribution.ModelParallel | None,
):
    """A context with a distribution, or without one, regardless of the surrounding one.

    Args:
        distribution: The distribution, `None` for a single device.
    """
    around = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield
    finally:
        keras.distribution.set_distribution(around)


class SingleDevice:
    """Training on the first device of this machine."""

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns a context in which to create models."""
        return distribution_scope(None)


class RowParallel(keras.distribution.ModelParallel):
    """Divides the rows of proxies and memories, with their moments, among devices.

    The network, its heads and the reference point are on all devices.

    Args:
        model_devices: Number of devices that share them, a divisor of the number of all devices.
    """

    def __init__(self, model_devices: int):
        shape = (jax.device_count() // model_devices, model_devices)
        layouts = keras.distribution.LayoutMap(
            keras.distribution.DeviceMesh(shape, axis_names=(_BATCH, _MODEL))
        )
        layouts.update(_SHARED_ROWS)
        super().__init__(layout_map=layouts, batch_dim_name=_BATCH)
        self.model_devices = model_devices

    def get_variable_layout(self, variable):
        layout = super().get_variable_layout(variable)
        if _MODEL in layout.axes and variable.shape[0] % self.model_devices:
            raise ValueError(
                f"{variable.path} has {variable.shape[0]} rows, which {self.model_devices} devices "
                "cannot share equally: choose a number of model devices that divides it, or "
                "another number of proxies per class or size of the memory"
            )
        return layout


def strategy(
    name: str, model_devices: int = 1
) -> SingleDevice | keras.distribution.DataParallel | RowParallel:
    """Returns a strategy that distributes training over devices.

    With every strategy, a batch is the global batch of all devices, and training takes the same
    steps as on one device, up to rounding.

    Args:
        name: `"none"`: the first device of this machine. `"data_parallel"`: all devices get a share
            of every batch, and have all variables. `"model_parallel"`: in addition, groups of
            `model_devices` devices share the rows of the proxies, of their moments and of the
            cross-batch memory, so that there can be more classes than fit on one device; a batch is
            divided among the groups.
        model_devices: Number N of devices of a group. Defaults to 1.

    With `"data_parallel"`, several hosts train together: the devices are those of all of them. The
    same program runs on each, with the same data. On a TPU pod slice the hosts find each other;
    elsewhere the environment variables `KERAS_DISTRIBUTION_JOB_ADDRESSES` (that of the first host,
    with a port), `KERAS_DISTRIBUTION_NUM_PROCESSES` and `KERAS_DISTRIBUTION_PROCESS_ID` identify
    them, and the strategy has to be created before JAX computes anything.

    Returns:
        A strategy; create and compile models in its `scope()`.

    Raises:
        ValueError: If the name is unknown or of another backend, if `model_devices` does not divide
            the number of devices, if it is too late for several hosts or they cannot find each
            other, or if there are several with `"model_parallel"`. When a model is created, if N
            does not divide the number of rows of its proxies or memory.

    Example:

    >>> with strategy("none").scope():
    ...     model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    """
    check_strategy(name, model_devices)
    check_whole_number("model_devices", model_devices, 1)
    if name == "none":
        return SingleDevice()
    _join_hosts()
    if name == "data_parallel":
        return keras.distribution.DataParallel()
    if jax.process_count() > 1:
        raise ValueError(
            "the strategy model_parallel is for the devices of one host, which reads and saves "
            f"what they share; got {jax.process_count()} hosts: use data_parallel"
        )
    if jax.device_count() % model_devices:
        raise ValueError(
            f"model_devices must divide the number of devices, {jax.device_count()}; got "
            f"{model_devices}"
        )
    return RowParallel(model_devices)


def strategy_of(model: keras.Model) -> keras.distribution.DataParallel | RowParallel | None:
    """Returns the distribution in whose scope a model was created.

    Args:
        model: The model. If it is not from `ccp_dml.models`, call this in the scope.

    Returns:
        The distribution, `None` on a single device.
    """
    return getattr(model, "distribution", keras.distribution.distribution())


def count_shares(model: keras.Model) -> int:
    """Returns the number of shares into which a batch is divided when a model is trained.

    Args:
        model: The model.

    Returns:
        A divisor of the size of every batch: the number of devices or, if groups of them share
        variables, of groups.
    """
    return replicas_of(strategy_of(model))


@functools.cache
def _join_hosts():
    """Finds the other hosts, if there are any; only once, as JAX requires."""
    if jax.distributed.is_initialized() or not any(map(os.environ.get, _ADDRESSES)):
        return
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "the hosts that the environment variables KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID describe cannot "
            f"train together: {' '.join(str(error).split())}"
        ) from error
