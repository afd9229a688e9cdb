"""Lower learning rates on a plateau, in a training that can be resumed."""

from collections.abc import Mapping

import keras
import numpy as np

from ccp_dml.callbacks.resumable_callback import ResumableCallback


class ReduceLROnPlateau(ResumableCallback, keras.callbacks.ReduceLROnPlateau):
    """`keras.callbacks.ReduceLROnPlateau` with a state that `TrainingState` can save.

    It takes the same arguments.

    Example:

    >>> plateau = ReduceLROnPlateau("val_map_at_r", mode="max", patience=4)
    >>> sorted(plateau.state())
    ['best', 'cooldown_counter', 'wait']
    """

    def reset(self):
        keras.callbacks.ReduceLROnPlateau.on_train_begin(self)
        # Older versions of Keras would compare with the training before.
        self.best = None

    def state(self) -> dict[str, np.ndarray]:
        return {
            # In Keras it is `None` before the first epoch.
            "best": np.asarray(np.nan if self.best is None else self.best),
            "wait": np.asarray(self.wait),
            "cooldown_counter": np.asarray(self.cooldown_counter),
        }

    def set_state(self, state: Mapping[str, np.ndarray]):
        best = float(state["best"])
        self.best = None if np.isnan(best) else best
        self.wait = int(state["wait"])
        self.cooldown_counter = int(state["cooldown_counter"])
