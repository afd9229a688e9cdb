"""Start-up and speed of the samplers on a training set of SOP's size.

python experiments/benchmarks/samplers.py
"""

import time

import numpy as np
from absl import app, flags

from ccp_dml.data import (
    balanced_batches,
    class_draws,
    hierarchical_batches,
    proportional_batches,
)

_SAMPLES = flags.DEFINE_integer("samples", 60_000, "Number of samples.", lower_bound=1)
_CLASSES = flags.DEFINE_integer("classes", 12_000, "Number of classes.", lower_bound=8)
_BATCHES = flags.DEFINE_integer("batches", 5_000, "Batches to draw.", lower_bound=1)


def main(_):
    """Runs the benchmark."""
    labels = np.arange(_SAMPLES.value) % _CLASSES.value
    # The first use of TensorFlow is not part of the samplers' time.
    next(iter(class_draws(np.zeros(2, int), seed=0)))
    samplers = {
        "8 x 4 batches, balanced": balanced_batches(labels, 8, 4, seed=0),
        "8 x 4 batches, proportional": proportional_batches(labels, 8, 4, seed=0),
        "8 x 4 batches, hierarchical": hierarchical_batches(
            labels, 8, 4, seed=0, super_classes=labels % 12
        ),
        "one of every class": class_draws(labels, seed=0),
    }
    for name, dataset in samplers.items():
        start = time.perf_counter()
        iterator = iter(dataset)
        next(iterator)
        first = time.perf_counter() - start
        count = _BATCHES.value if name.startswith("8") else 20
        start = time.perf_counter()
        for _ in range(count):
            next(iterator)
        each = (time.perf_counter() - start) / count
        print(f"{name}: first after {first:.2f} s, then {1e3 * each:.2f} ms each")


if __name__ == "__main__":
    app.run(main)
