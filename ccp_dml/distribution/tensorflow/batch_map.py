"""A function of the batches of a data set, computed on all replicas."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ccp_dml.distribution.tensorflow.workers import sum_over_workers


class BatchMap:
    """Applies a function to the batches of a data set, distributed over the replicas.

    Each replica in turn gets a whole batch, which is then computed as on a single device, and is
    never too small to be divided. All workers read all batches, compute those of their replicas and
    gather the results: all have to call it with the same data, and all get the same result as on
    one device.

    Args:
        function: Function from a batch to a tensor with one row per sample, called in a
            `tf.function`.
        variables: The variables that the function reads. TensorFlow finds them on its own; JAX does
            not.
        strategy: The strategy of the variables.

    Call arguments:
        batches: Arrays or tensors, or nests of them, with one row per sample.
        on_batches: Called with the number of batches whenever some have been computed. Defaults to
            `None`.

    Returns:
        The rows of all batches in order, an array `(n, ...)`.

    Raises:
        ValueError: If there are no batches.

    Example:

    >>> double = BatchMap(lambda batch: 2 * batch, [], tf.distribute.get_strategy())
    >>> double([np.array([1, 2]), np.array([3])])
    array([2, 4, 6])
    """

    def __init__(
        self,
        function: Callable[[Any], tf.Tensor],
        variables: Sequence[keras.Variable],
        strategy: tf.distribute.Strategy,
    ):
        def run(batch):
            return strategy.experimental_local_results(strategy.run(function, args=(batch,)))

        self.strategy = strategy
        self._run = tf.function(run, reduce_retracing=True)

    def __call__(
        self, batches: Iterable[Any], on_batches: Callable[[int], None] | None = None
    ) -> np.ndarray:
        results = []
        batches = iter(batches)
        while group := list(itertools.islice(batches, self.strategy.num_replicas_in_sync)):
            results += self._compute(group)
            if on_batches is not None:
                on_batches(len(group))
        if not results:
            raise ValueError("there are no batches to compute anything from")
        return sum_over_workers(np.concatenate(results), self.strategy)

    def _compute(self, group):
        """Computes one batch per replica; results of other workers are zeros."""
        if self.strategy.num_replicas_in_sync == 1:
            return [result.numpy() for result in self._run(*group)]
        local_replicas = []

        def choose(context):
            local_replicas.append(context.replica_id_in_sync_group)
            # If there are no batches left, the last one is computed again and ignored.
            batch = group[min(local_replicas[-1], len(group) - 1)]
            return tf.nest.map_structure(tf.convert_to_tensor, batch)

        shares = self.strategy.experimental_distribute_values_from_function(choose)
        computed = dict(zip(local_replicas, self._run(shares), strict=True))
        row = computed[local_replicas[0]][0]
        return [
            computed[replica].numpy()
            if replica in computed
            else np.zeros((_count_rows(batch), *row.shape), row.dtype.as_numpy_dtype)
            for replica, batch in enumerate(group)
        ]


def _count_rows(batch):
    return len(tf.nest.flatten(batch)[0])
