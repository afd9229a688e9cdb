"""Finds classes that are near each other while a model trains, for batches of hard classes."""

from collections.abc import Mapping

import numpy as np

from ccp_dml.callbacks.resumable_callback import ResumableCallback
from ccp_dml.checks import check_whole_number
from ccp_dml.data import ClassNeighbors, ClassPools
from ccp_dml.evaluation import embed, nearest_neighbors


class HardClasses(ResumableCallback):
    """Regularly updates the neighbours of each class, from which batches are drawn.

    The centre of a class is the mean of the embeddings of a few of its samples, fresh ones each
    time; classes are near each other if their centres are. The batch of a step waits for the update
    that precedes the step, so that the same seed gives the same batches, even when training is
    resumed.

    Args:
        pools: Samples of all classes, from `ccp_dml.data.class_pools`: a fresh pool for each
            update.
        steps_per_epoch: Number of steps of an epoch, the same as for `fit`.
        nearest: Number of classes that count as near to a class. Defaults to 10.
        epochs: Epochs from one update to the next. Defaults to 1.

    Attributes:
        neighbors: The neighbours, for `ccp_dml.data.hard_class_batches`.

    Raises:
        ValueError: If a number is not positive; when training begins, if an epoch has a different
            number of steps.

    Example:

    ```python
    pools = ccp_dml.data.class_pools(train, draws=4, seed=0)
    hard_classes = HardClasses(pools, steps_per_epoch=25)
    batches = ccp_dml.data.training_batches(
        train, 8, 4, seed=0, sampler="hard_classes", neighbors=hard_classes.neighbors
    )
    model.fit(batches, steps_per_epoch=25, epochs=40, callbacks=[hard_classes])
    ```
    """

    def __init__(
        self, pools: ClassPools, steps_per_epoch: int, nearest: float = 10, epochs: float = 1
    ):
        super().__init__()
        self.pools = pools
        self.steps_per_epoch = check_whole_number("steps_per_epoch", steps_per_epoch, least=1)
        self.nearest = check_whole_number("nearest", nearest, least=1)
        self.epochs = check_whole_number("epochs", epochs, least=1)
        self.neighbors = ClassNeighbors(self.steps_per_epoch * self.epochs)

    def reset(self):
        self.neighbors.reset()

    def state(self) -> dict[str, np.ndarray]:
        return {
            "nearest": self.neighbors.nearest,
            "updates": np.asarray(self.neighbors.updates),
        }

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.neighbors.restore(state["nearest"], int(state["updates"]))

    def on_train_begin(self, logs=None):
        if self.params.get("steps") != self.steps_per_epoch:
            raise ValueError(
                f"steps_per_epoch must be that of fit, {self.params.get('steps')}; got "
                f"{self.steps_per_epoch}"
            )
        self.neighbors.is_attached = True
        super().on_train_begin(logs)

    def on_train_end(self, logs=None):
        self.neighbors.is_attached = False

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.epochs:
            return
        pool = self.pools(self.neighbors.updates).map(lambda inputs, labels: inputs)
        embeddings = embed(self.model, pool)
        num_classes = len(embeddings) // self.pools.draws
        centers = embeddings.reshape(-1, num_classes, embeddings.shape[1]).mean(axis=0)
        nearest = min(self.nearest, num_classes - 1)
        _, found = nearest_neighbors(centers, centers, nearest, np.arange(num_classes))
        self.neighbors.update(found)
