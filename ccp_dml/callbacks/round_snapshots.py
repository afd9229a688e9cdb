"""Snapshots of the ends of rounds, to be drawn."""

from collections.abc import Mapping

import numpy as np

from ccp_dml.callbacks.resumable_callback import ResumableCallback
from ccp_dml.evaluation import Samples, embed, unpack_samples
from ccp_dml.projections import RoundEnd, RoundSnapshot


class RoundSnapshots(ResumableCallback):
    """Keeps the end of each of the first rounds, and then stops training.

    Args:
        data: Samples to embed when a round ends: labelled samples in memory or in files, or a pair
            of inputs, an array or a `tf.data.Dataset` of batches of them, and labels `(n,)`.
        max_rounds: Number of rounds to keep.

    Attributes:
        snapshots: The rounds so far, in order.

    Example:

    ```python
    snapshots = RoundSnapshots(train, max_rounds=4)
    rounds = AlternatingProjections(pools, on_round_end=snapshots.add)
    model.fit(batches, steps_per_epoch=25, epochs=40, callbacks=[validation, rounds, snapshots])
    ```
    """

    def __init__(self, data: Samples, max_rounds: int):
        super().__init__()
        self._inputs, self.labels = unpack_samples(data)
        self.max_rounds = max_rounds
        self.reset()

    def reset(self):
        self.snapshots: list[RoundSnapshot] = []

    def add(self, end: RoundEnd):
        """Adds the end of a round; pass it to `AlternatingProjections` as `on_round_end`."""
        self.snapshots.append(RoundSnapshot(end, embed(self.model, self._inputs), self.labels))
        if len(self.snapshots) >= self.max_rounds:
            self.model.stop_training = True

    def state(self) -> dict[str, np.ndarray]:
        return {
            f"{number}/{name}": np.asarray(value)
            for number, snapshot in enumerate(self.snapshots)
            for name, value in [*vars(snapshot.end).items(), ("embeddings", snapshot.embeddings)]
            if value is not None
        }

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.snapshots = []
        for number in range(len({key.partition("/")[0] for key in state})):
            parts = {
                key.partition("/")[2]: state[key] for key in state if key.startswith(f"{number}/")
            }
            embeddings = parts.pop("embeddings")
            values = {name: part if part.ndim else part.item() for name, part in parts.items()}
            end = RoundEnd(**{"pool": None, **values})
            self.snapshots.append(RoundSnapshot(end, embeddings, self.labels))
