"""A function of the batches of a data set, computed on all devices of JAX."""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

# Devices compute one batch while the next one is being read.
_BATCHES_AHEAD = 2


class BatchMap:
    """Applies a function to the batches of a data set, each divided among all devices.

    The function is compiled for one size, that of the first batch, rounded up to a multiple of the
    number of devices. Smaller batches are padded, and the padding is dropped. All processes have to
    call it with the same data, and all get the same result.

    Args:
        function: Function from a batch to an array with one row per sample, which depends only on
            that sample.
        variables: The variables that the function reads, with their values at the time of the call.
        strategy: A `keras.distribution`; `None` for one device.

    Call arguments:
        batches: Arrays or tensors, or nests of them, with one row per sample.
        on_batches: Called with the number of batches whenever some have been computed. Defaults to
            `None`.

    Returns:
        The rows of all batches in order, an array `(n, ...)`.

    Raises:
        ValueError: If there are no batches.

    Example:

    >>> double = BatchMap(lambda batch: 2 * batch, [], None)
    >>> double([np.array([1, 2]), np.array([3])])
    array([2, 4, 6], dtype=int32)
    """

    def __init__(
        self,
        function: Callable[[Any], jax.Array],
        variables: Sequence[keras.Variable],
        strategy: keras.distribution.DataParallel | keras.distribution.ModelParallel | None,
    ):
        def run(values, batch):
            # If the values were compiled in, it would always use those of the first call.
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return function(batch)

        self.variables = variables
        self._num_devices, self._rows, everywhere = 1, None, None
        if strategy is not None:
            mesh = strategy.device_mesh.backend_mesh
            self._num_devices = mesh.size
            self._rows = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
            everywhere = NamedSharding(mesh, PartitionSpec())
        self._run = jax.jit(run, out_shardings=everywhere)

    def __call__(
        self, batches: Iterable[Any], on_batches: Callable[[int], None] | None = None
    ) -> np.ndarray:
        values = [variable.value for variable in self.variables]
        results, computing, size = [], collections.deque(), 0

        def finish():
            rows, count = computing.popleft()
            results.append(np.asarray(rows)[:count])
            if on_batches is not None:
                on_batches(1)

        for batch in batches:
            batch = jax.tree.map(np.asarray, batch)
            count = len(jax.tree.leaves(batch)[0])
            size = max(size, -(-count // self._num_devices) * self._num_devices)
            computing.append((self._run(values, self._spread(batch, size)), count))
            if len(computing) > _BATCHES_AHEAD:
                finish()
        while computing:
            finish()
        if not results:
            raise ValueError("there are no batches to compute anything from")
        return np.concatenate(results)

    def _spread(self, batch, size):
        """Pads a batch to a size, and puts a share of it on each of the devices."""

        def spread(rows):
            filling = np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)
            rows = np.concatenate([rows, filling]) if len(filling) else rows
            if self._rows is None:
                return jnp.asarray(rows)
            return jax.make_array_from_callback(rows.shape, self._rows, rows.__getitem__)

        return jax.tree.map(spread, batch)
