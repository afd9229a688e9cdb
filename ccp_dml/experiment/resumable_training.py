"""Training that survives interruptions: the fit of a run, and its checkpoints."""

import hashlib
import math
import signal
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from absl import logging
from etils import epath

from ccp_dml.callbacks import (
    EmbeddingLine,
    ProgressLine,
    ResumableCallback,
    TerminateOnFailure,
    TrainingInterruptedError,
    TrainingState,
)
from ccp_dml.distribution import is_chief, num_workers
from ccp_dml.experiment.flags import flagfile
from ccp_dml.experiment.interruption import Interruption, RunInterruptedError, StopOnInterruption
from ccp_dml.experiment.settings import Settings
from ccp_dml.models import MetricLearningModel

_CHECKPOINTS = "checkpoints"


class TrainingFailedError(Exception):
    """Training could not continue; the message says why and what to do."""


class ResumableTraining:
    """Trains models with `fit`, each from its last checkpoint if there is one.

    Args:
        settings: Settings of the run. Checkpoints of a run with other settings are not resumed.
        data_fingerprint: Fingerprint of its data, see `fingerprint_data`; likewise.
        workdir: Folder of the run, which all workers share, for the folder `checkpoints`.
        checkpoint_minutes: Minutes of training between two checkpoints. Defaults to 5.
        interruption: Receives signals. Defaults to `None`: they are not handled.
    """

    def __init__(
        self,
        settings: Settings,
        data_fingerprint: str,
        workdir: epath.Path,
        checkpoint_minutes: float = 5.0,
        interruption: Interruption | None = None,
    ):
        self.settings = settings
        self.data_fingerprint = data_fingerprint
        self.checkpoint_minutes = checkpoint_minutes
        self._checkpoints = workdir / _CHECKPOINTS
        self._interruption = interruption or Interruption()

    def fit(
        self,
        name: str,
        model: MetricLearningModel,
        make_batches: Callable[[int, Sequence[keras.callbacks.Callback]], tf.data.Dataset],
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> TrainingState:
        """Trains a model until the last step of the settings, or until a callback ends it.

        Args:
            name: Name of the training, for its checkpoints and its progress.
            model: The model.
            make_batches: Makes the batches that follow a number of steps, given the callbacks.
            callbacks: Callbacks, `TerminateOnFailure` among them. The state of those that are
                `ResumableCallback`s is in the checkpoints.

        Returns:
            The state at the end.

        Raises:
            TrainingFailedError: If a loss is not finite or the embeddings collapse.
            RunInterruptedError: If a signal was received; progress is saved.
        """
        settings, interruption = self.settings, self._interruption
        steps_per_epoch = settings.steps_per_validation
        epochs = math.ceil(settings.max_steps / steps_per_epoch)
        state = TrainingState(
            self._checkpoints / name,
            [each for each in callbacks if isinstance(each, ResumableCallback)],
            self.checkpoint_minutes,
            fingerprint=_fingerprint(settings, self.data_fingerprint),
            interrupted=interruption.is_requested,
        )
        if state.restore(model):
            logging.info("%s resumes after step %d.", name, state.step)
        progress = ProgressLine(name, epochs * steps_per_epoch, state.epoch * steps_per_epoch)
        try:
            with interruption.defer():
                model.fit(
                    make_batches(state.step, callbacks),
                    steps_per_epoch=steps_per_epoch,
                    # With no epochs left, only the best weights are restored.
                    epochs=state.epoch if state.has_stopped else epochs,
                    initial_epoch=state.epoch,
                    verbose=0,
                    callbacks=[*callbacks, *([progress] if is_chief() else []), state],
                )
        except TrainingInterruptedError as error:
            # Without a signal here, another worker received one.
            raise RunInterruptedError(interruption.signal_number or signal.SIGTERM) from error
        except RunInterruptedError:
            # The signal came while the validation samples were embedded, after the last step of an
            # epoch.
            state.save()
            raise
        finally:
            progress.close()
        (failure,) = (each.failure for each in callbacks if isinstance(each, TerminateOnFailure))
        if failure is not None:
            raise TrainingFailedError(f"training of {name} stopped: {failure}")
        return state

    def validation_callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns callbacks that interrupt the validation within `fit`."""
        # Several workers stop together, between two steps.
        return [] if num_workers() > 1 else [StopOnInterruption(self._interruption)]

    def embedding_callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns callbacks that interrupt embedding outside of `fit`, and show its progress."""
        lines = [EmbeddingLine()] if is_chief() else []
        return [*lines, StopOnInterruption(self._interruption)]

    def remove_checkpoints(self, name: str = ""):
        """Removes the checkpoints of a training that is complete.

        Args:
            name: The training; by default all.
        """
        if is_chief():
            (self._checkpoints / name).rmtree(missing_ok=True)


def _fingerprint(settings, data_fingerprint):
    decisive = (
        f"{flagfile(settings.without_machine())}backend={keras.backend.backend()}"
        f"data={data_fingerprint}"
    )
    return hashlib.sha256(decisive.encode()).hexdigest()
