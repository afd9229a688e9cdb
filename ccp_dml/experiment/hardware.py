"""The devices and workers of a run."""

import contextlib
import dataclasses
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from absl import logging
from etils import epath

from ccp_dml import distribution
from ccp_dml.experiment.flags import flagfile
from ccp_dml.experiment.settings import Settings


class WorkerLostError(Exception):
    """Another worker has ended or cannot be reached; the message says what is known about it."""


@contextlib.contextmanager
def use_hardware(settings: Settings) -> Iterator[Any]:
    """Creates the strategy of the settings and enters its scope.

    Enter it before TensorFlow computes anything. With several workers it waits for all of them.
    With JAX, TensorFlow gets no GPUs, whose memory it would occupy.

    Args:
        settings: Name the strategy.

    Yields:
        The strategy that `ccp_dml.distribution.strategy` returns.

    Raises:
        ValueError: See `ccp_dml.distribution.strategy`; also if the settings do not fit the number
            of replicas, or differ from those of the chief.
        WorkerLostError: If another worker ends, or does not answer for some ten seconds.
    """
    reserve_accelerators()
    if settings.strategy == "multi_worker":
        logging.info("Waiting for all workers of TF_CONFIG.")
        with _default_interrupt_handler():
            distribution.strategy(settings.strategy)
    strategy = distribution.strategy(settings.strategy, settings.model_devices)
    try:
        with strategy.scope():
            logging.info("%s", describe_hardware(settings))
            _check_replicas(settings)
            _check_same_settings(settings)
            yield strategy
    except tf.errors.OpError as error:
        reason = _explain_collective_error(error)
        if reason is None or distribution.num_workers(strategy) == 1:
            raise
        raise WorkerLostError(f"another worker has ended or cannot be reached: {reason}") from error


def reserve_accelerators():
    """Reserves the GPUs for JAX if networks run on it; TensorFlow then reads data on the CPU."""
    if keras.backend.backend() != "jax":
        return
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        logging.warning(
            "TensorFlow has already been used and keeps the GPU memory that it has allocated."
        )


@contextlib.contextmanager
def _default_interrupt_handler():
    """Lets Ctrl-C end the process while TensorFlow waits and Python handles no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _check_replicas(settings):
    """Checks what is known before data are loaded; the models check the rest."""
    replicas = distribution.count_replicas()
    batch_size = settings.classes_per_batch * settings.samples_per_class
    is_unequal = distribution.STATIC_SHAPES and batch_size % replicas
    if batch_size < replicas or is_unequal:
        equally = "equally " if is_unequal else ""
        raise ValueError(
            f"a batch of classes_per_batch * samples_per_class = {batch_size} samples cannot be "
            f"divided {equally}among {replicas} replicas: use another batch size or fewer devices"
        )


def _check_same_settings(settings):
    """Checks that this worker has the settings of the chief, except for where the data are."""
    ours = flagfile(dataclasses.replace(settings.without_machine(), data_dir="")).splitlines()
    theirs = distribution.broadcast_from_chief(lambda: ours)
    if ours != theirs:
        different = (pair for pair in zip(ours, theirs, strict=True) if len(set(pair)) > 1)
        raise ValueError(
            "all workers need the same settings; "
            + ", ".join(f"this one has {our} and the chief {their}" for our, their in different)
        )


def _explain_collective_error(error):
    """Returns why a collective operation of all workers has failed; `None` for other errors."""
    _, found, reason = str(error).partition("Collective ops is aborted by: ")
    return reason.splitlines()[0].rstrip(" :.") if found else None


def describe_hardware(settings: Settings) -> str:
    """Describes the backend, the strategy in whose scope it is called, its devices, the precision.

    Args:
        settings: Name the strategy and the precision.

    Returns:
        One line.
    """
    replicas, workers = distribution.count_replicas(), distribution.num_workers()
    line = (
        f"backend {keras.backend.backend()}, strategy {settings.strategy}: {replicas} "
        f"replica{'s' if replicas > 1 else ''}"
    )
    if workers > 1:
        line += f" on {workers} workers, of which this is {distribution.name_of_worker()},"
    devices = ", ".join(distribution.list_local_devices())
    return f"{line} on {devices}; precision {settings.precision}"


def record_hardware(settings: Settings) -> dict[str, Any]:
    """Returns the entries of `results.json` on backend, strategy, replicas and precision.

    Args:
        settings: Name the strategy and the precision.
    """
    return {
        "backend": keras.backend.backend(),
        "strategy": settings.strategy,
        "replicas": distribution.count_replicas(),
        "precision": settings.precision,
    }


@contextlib.contextmanager
def writable_folder(workdir: str | os.PathLike) -> Iterator[epath.Path]:
    """Yields the folder that this worker writes to: `workdir` for the chief, else a temporary one.

    All workers then do the same, and only the chief's files remain.

    Args:
        workdir: The folder of the run.
    """
    if distribution.is_chief():
        yield epath.Path(workdir)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield epath.Path(folder)
