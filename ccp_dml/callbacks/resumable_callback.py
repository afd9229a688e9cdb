"""Callbacks whose state can be saved while a model trains."""

from collections.abc import Mapping

import keras
import numpy as np


class ResumableCallback(keras.callbacks.Callback):
    """Base class of callbacks that a `TrainingState` saves, and restores when training resumes.

    A subclass implements `reset`, `state` and `set_state`. If it overrides `on_train_begin`, it
    must call that of this class.
    """

    _restored = False

    def on_train_begin(self, logs=None):
        if not self._restored:
            self.reset()
        self._restored = False

    def reset(self):
        """Resets the state to that before training."""
        raise NotImplementedError(f"{type(self).__name__} does not implement reset")

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state between two steps of training, for `numpy.savez` and `restore`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement state")

    def set_state(self, state: Mapping[str, np.ndarray]):
        """Sets the state to what `state` returned."""
        raise NotImplementedError(f"{type(self).__name__} does not implement set_state")

    def restore(self, state: Mapping[str, np.ndarray]):
        """Restores a state, so that the next `fit` continues from it instead of starting over.

        Args:
            state: What `state()` returned, or the file that `numpy.savez` made from it.

        Raises:
            ValueError: If something is missing in `state`; nothing is changed then.
        """
        attributes = dict(vars(self))
        try:
            self.set_state(state)
        except KeyError as error:
            self.__dict__.update(attributes)
            raise ValueError(
                f"not the state of {type(self).__name__}: {error} is missing; it holds "
                f"{', '.join(sorted(state)) or 'nothing'}"
            ) from error
        self._restored = True


def pack_arrays(name: str, arrays: list[np.ndarray] | None) -> dict[str, np.ndarray]:
    """Turns a list of arrays into entries of a state; no entries for `None`.

    Args:
        name: Name of the list.
        arrays: The arrays.

    Example:

    >>> pack_arrays("weights", [np.array(1.0)])
    {'weights/0': array(1.)}
    """
    return {f"{name}/{index}": array for index, array in enumerate(arrays or [])}


def unpack_arrays(name: str, state: Mapping[str, np.ndarray]) -> list[np.ndarray] | None:
    """Returns the list that `pack_arrays` packed, or `None`.

    Args:
        name: Name of the list.
        state: The entries.

    Example:

    >>> unpack_arrays("weights", {"weights/0": np.array(1.0), "best": np.array(2.0)})
    [array(1.)]
    """
    count = sum(key.startswith(f"{name}/") for key in state)
    return [state[f"{name}/{index}"] for index in range(count)] or None
