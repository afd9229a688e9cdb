"""Checkpoints of a whole training, from which it continues bit for bit."""

import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_above, check_whole_number
from ccp_dml.distribution import (
    broadcast_from_chief,
    is_chief,
    num_workers,
    strategy_of,
    sum_over_workers,
)
from ccp_dml.models.keras_internals import sync_variables, wrap_train_function

# Errors that NumPy and zipfile raise for a damaged file.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)


class HasState(Protocol):
    """Anything with a state, such as a `ResumableCallback`."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state between two steps of training."""
        raise NotImplementedError

    def restore(self, state: Mapping[str, np.ndarray]):
        """Restores a state that `state()` returned."""


class TrainingInterruptedError(Exception):
    """Raised when training was asked to stop; its state has been saved."""


class TrainingState(keras.callbacks.Callback):
    """Saves everything that is needed to resume training, and restores it.

    On one device, a training that was killed at any moment and resumed ends with the same weights,
    history and metrics as one that was never interrupted. A checkpoint contains all variables of
    the model (including proxies, reference point, proximal weight and memory) and of the optimizer,
    the metrics of the epoch so far, the step, and the state of other callbacks. Checkpoints are
    written atomically; a damaged one is skipped in favour of the one before it.

    With several workers, the chief writes the checkpoints to a folder that all of them can read,
    and all resume from the one that it chooses. They save, and stop, after the same step: between
    two steps, or every `steps_per_execution`, they tell each other whether the chief wants to save
    or one of them was interrupted.

    Restore before training, and let the data start at the step from which training continues. Put
    the callback last, so that the others are done when an epoch is saved.

    Args:
        folder: Folder of the checkpoints; any path that `etils.epath` knows.
        callbacks: The other callbacks of the training that have a state, always in the same order:
            those of `ccp_dml.callbacks`, or others with the methods `state` and `restore`.
        minutes: Minutes of training between two checkpoints. Defaults to 5.
        keep: Number of checkpoints to keep, the newest ones. Defaults to 2.
        fingerprint: Anything that must be equal for a checkpoint to be restored, such as a hash of
            the settings. Defaults to `""`.
        interrupted: Function that is called between two steps, and when an epoch has ended. If it
            returns `True` on any of the workers, the state is saved and `TrainingInterruptedError`
            raised. Defaults to `None`: never.

    Attributes:
        epoch: Number of completed epochs.
        step: Number of steps taken in all epochs.
        seconds: Duration of training so far, without interruptions.

    Raises:
        ValueError: If a number is not positive or a callback has no state; in `restore`, if the
            checkpoints belong to another training; when training begins, if the length of an epoch
            is unknown or not a multiple of the model's `steps_per_execution`, or if training begins
            at an epoch other than that of the state.

    Example:

    ```python
    batches = functools.partial(ccp_dml.data.training_batches, train, 8, 4, seed=0)
    validation = RetrievalValidation(held_out)
    rounds = AlternatingProjections(class_pools(train, draws=12, seed=0))
    training = TrainingState("/tmp/run", [validation, rounds])
    training.restore(model)  # does nothing the first time
    model.fit(
        batches(first_step=training.step),
        steps_per_epoch=25,
        epochs=training.epoch if training.has_stopped else 1000,
        initial_epoch=training.epoch,
        callbacks=[validation, rounds, training],
    )
    ```
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        callbacks: Sequence[HasState],
        minutes: float = 5.0,
        keep: int = 2,
        fingerprint: str = "",
        interrupted: Callable[[], bool] | None = None,
    ):
        super().__init__()
        check_above("minutes", minutes, 0)
        check_whole_number("keep", keep, 1)
        for callback in callbacks:
            if not (hasattr(callback, "state") and hasattr(callback, "restore")):
                raise ValueError(
                    "callbacks must have the methods state and restore, as those of "
                    f"ccp_dml.callbacks that have a state; got {type(callback).__name__}"
                )
        self.folder = epath.Path(folder)
        self.callbacks = list(callbacks)
        self.minutes = minutes
        self.keep = keep
        self.fingerprint = fingerprint
        self.interrupted = interrupted
        self.epoch = 0
        self.step = 0
        self._seconds_before = 0.0
        self._started = None
        self._saved = time.monotonic()
        self._logs: dict[str, float] = {}
        self._steps_to_skip = 0
        self._metrics: list[np.ndarray] = []
        self._has_stopped = False
        self._is_between_epochs = True
        self._train_function = self._wrapper = None

    @property
    def seconds(self) -> float:
        started = time.monotonic() if self._started is None else self._started
        return self._seconds_before + time.monotonic() - started

    @property
    def has_stopped(self) -> bool:
        """Whether training had ended, early or not, when the restored state was saved."""
        return self._has_stopped

    def restore(self, model: keras.Model) -> bool:
        """Restores the newest checkpoint that is not damaged.

        Args:
            model: The model, built and compiled like the one that was saved.

        Returns:
            Whether there was one.

        Raises:
            ValueError: If it belongs to a training with another fingerprint, another model or other
                callbacks, or if this worker cannot read the checkpoint that the chief has read.
        """
        strategy = strategy_of(model)
        found = self._read_newest() if is_chief(strategy) else None
        name = broadcast_from_chief(lambda: found and found[0].name, strategy)
        if name is None:
            return False
        if found is None:
            found = self._read_as_chief(self.folder / name)
        self._restore(model, *found)
        return True

    def _read_newest(self):
        for path in reversed(self._checkpoints()):
            try:
                return path, *_read(path)
            except _DAMAGED as error:
                logging.warning("The checkpoint %s is damaged and skipped: %s", path, error)
        return None

    def _read_as_chief(self, path):
        try:
            return path, *_read(path)
        except _DAMAGED as error:
            raise ValueError(
                f"this worker cannot read the checkpoint {path}, from which the chief resumes: its "
                f"folder must be one that all workers share ({error})"
            ) from error

    def _restore(self, model, path, arrays, position):
        if position["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"the checkpoint {path} was saved by training with other settings or data: "
                f"delete {self.folder} to train from the start"
            )
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        saved = _group(arrays, "variables")
        shapes = {str(index): tuple(each.shape) for index, each in enumerate(variables)}
        if {key: array.shape for key, array in saved.items()} != shapes:
            raise ValueError(f"the checkpoint {path} was saved from a model with other weights")
        names = [type(callback).__name__ for callback in self.callbacks]
        if position["callbacks"] != names:
            raise ValueError(
                f"the checkpoint {path} was saved by training with the callbacks "
                f"{', '.join(position['callbacks']) or 'none'}; got {', '.join(names) or 'none'}: "
                f"pass the same ones, or delete {self.folder} to train from the start"
            )
        for index, variable in enumerate(variables):
            variable.assign(saved[str(index)])
        for index, callback in enumerate(self.callbacks):
            callback.restore(_group(arrays, f"callbacks/{index}"))
        self.epoch, self.step = position["epoch"], position["step"]
        self._seconds_before = position["seconds"]
        self._steps_to_skip = position["steps_in_epoch"]
        self._is_between_epochs = not self._steps_to_skip
        self._logs = position["logs"]
        self._has_stopped = position["has_stopped"]
        metrics = _group(arrays, "metrics")
        self._metrics = [metrics[str(index)] for index in range(len(metrics))]

    def save(self):
        """Saves the current state, between two steps or when an epoch has ended.

        With several workers, all of them have to call this.
        """
        sync_variables(self.model)
        position = {
            "fingerprint": self.fingerprint,
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            "epoch": self.epoch,
            "step": self.step,
            "steps_in_epoch": 0 if self._is_between_epochs else self._count_steps_in_epoch(),
            "seconds": self.seconds,
            "logs": {name: float(value) for name, value in self._logs.items()},
            "has_stopped": bool(self.model.stop_training) and self._is_between_epochs,
        }
        arrays = {"position": np.asarray(json.dumps(position))}
        for name, variables in [
            ("variables", _variables(self.model)),
            ("metrics", self.model.metrics_variables),
        ]:
            for index, variable in enumerate(variables):
                arrays[f"{name}/{index}"] = keras.ops.convert_to_numpy(variable)
        for index, callback in enumerate(self.callbacks):
            for key, value in callback.state().items():
                arrays[f"callbacks/{index}/{key}"] = value
        self._saved = time.monotonic()
        # All workers were needed to read the metrics, which are sums over all of them.
        if is_chief(strategy_of(self.model)):
            self._write(arrays)

    def _write(self, arrays):
        path = self.folder / f"step-{self.step:09d}-{self._is_between_epochs:d}.npz"
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays)
        for outdated in self._checkpoints()[: -self.keep]:
            outdated.unlink()

    def delete(self):
        """Deletes the checkpoints, once they are no longer needed."""
        if self.folder.exists():
            self.folder.rmtree()

    def _checkpoints(self):
        return sorted(self.folder.glob("step-*.npz")) if self.folder.exists() else []

    def _count_steps_in_epoch(self):
        return self.step - self.epoch * self.params["steps"]

    def on_train_begin(self, logs=None):
        if self.params["steps"] is None:
            raise ValueError("the length of an epoch is unknown: pass steps_per_epoch to fit")
        if self.params["steps"] % self.model.steps_per_execution:
            # Keras takes more steps in such an epoch than it reports.
            raise ValueError(
                f"an epoch of {self.params['steps']} steps cannot be saved: its length must be a "
                f"multiple of steps_per_execution, {self.model.steps_per_execution}"
            )
        self._started = self._saved = time.monotonic()
        # With JAX, accessing `self.model` between two steps gives its variables their values.
        self._steps_at_once = self.model.steps_per_execution
        self._strategy = strategy_of(self.model)
        # A wrapper left by a fit that ended with an exception would count every step once more.
        self._unwrap_train_function()
        self._train_function = wrap_train_function(self.model, self._take_steps)
        self._wrapper = self.model.train_function

    def on_epoch_begin(self, epoch, logs=None):
        if epoch != self.epoch:
            raise ValueError(
                f"training starts at epoch {epoch}, but its state is that of epoch {self.epoch}: "
                "call restore before fit and pass initial_epoch=training_state.epoch"
            )
        if self._steps_to_skip:
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)

    def _take_steps(self, train):
        """Takes steps, except those already taken when training resumes within an epoch."""
        if self._steps_to_skip > 0:
            self._steps_to_skip -= self._steps_at_once
            return self._logs
        logs = train()
        self.step += self._steps_at_once
        # The logs are on the device: reading them here would wait for the step.
        self._logs, self._is_between_epochs = logs, False
        return logs

    # For callbacks that have an `on_train_batch_end`, Keras reads the logs after every step.
    def on_train_batch_begin(self, batch, logs=None):
        if batch and self._steps_to_skip <= 0:
            self._save_if_wanted()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        self._logs, self._is_between_epochs = {}, True
        self._save_if_wanted(self.model.stop_training or self.epoch == self.params["epochs"])

    def _save_if_wanted(self, is_last=False):
        interrupted = self.interrupted is not None and self.interrupted()
        is_due = time.monotonic() - self._saved >= 60 * self.minutes
        if num_workers(self._strategy) > 1:
            # The workers' clocks differ, so that the chief decides.
            answers = np.asarray([interrupted, is_due and is_chief(self._strategy)], "int32")
            interrupted, is_due = sum_over_workers(answers, self._strategy) > 0
        if interrupted or is_last or is_due:
            self.save()
        if interrupted:
            raise TrainingInterruptedError(f"training was interrupted after step {self.step}")

    def on_train_end(self, logs=None):
        self._unwrap_train_function()
        self._seconds_before, self._started = self.seconds, None

    def _unwrap_train_function(self):
        # A model that was compiled again has a new train function.
        if self._wrapper is not None and self.model.train_function is self._wrapper:
            self.model.train_function = self._train_function
        self._train_function = self._wrapper = None


def _read(path):
    """Reads the arrays of a checkpoint and its position."""
    with path.open("rb") as file, np.load(file) as archive:
        arrays = dict(archive)
    return arrays, json.loads(str(arrays.pop("position")))


def _variables(model):
    return [*model.variables, *model.optimizer.variables]


def _group(arrays: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the entries below a name, with the name removed."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
