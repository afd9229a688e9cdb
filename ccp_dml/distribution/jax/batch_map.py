"""A function of the batches of a data set, compiled by JAX."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np


class BatchMap:
    """Applies a function to the batches of a data set.

    Args:
        function: From a batch to an array with one row per sample.
        strategy: Not used.

    Call arguments:
        batches: Arrays or tensors, or nests of them, with one row per sample.
        on_batches: Called with the number of batches whenever some have been computed. Defaults to
            `None`.

    Returns:
        The rows of all batches in order, an array `(n, ...)`.

    Raises:
        ValueError: If there are no batches.
    """

    def __init__(self, function: Callable[[Any], jax.Array], strategy=None):
        self._run = function

    def __call__(
        self, batches: Iterable[Any], on_batches: Callable[[int], None] | None = None
    ) -> np.ndarray:
        results = []
        for batch in batches:
            results.append(np.asarray(self._run(jax.tree.map(np.asarray, batch))))
            if on_batches is not None:
                on_batches(1)
        if not results:
            raise ValueError("there are no batches to compute anything of")
        return np.concatenate(results)
