"""Greedy k-centre on as many classes as a fold of SOP has, beside the bare Gram matrix.

    python experiments/benchmarks/k_center.py

It is compared with the least work that a choice by inner products takes, from the same float32
arrays: the products of each class's pool with itself and with the present proxies, `(C, b, b)` and
`(C, b, K)`, and one pass over the pool, for the sum of squares of each point. The products are
timed with NumPy's `matmul` and TensorFlow's, compiled, the latter also without converting the
arrays to tensors. They are in float32 and stop short of distances, of which k-centre needs those to
the proxies and to the first k − 1 points it takes. Everything is measured in turn, in one process;
a ratio is the median of the ratios within a turn.
"""

import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from ccp_dml.projections import greedy_k_center

_CLASSES = flags.DEFINE_integer("classes", 8_488, "Number of classes.", lower_bound=1)
_POOL = flags.DEFINE_integer("pool", 7, "Points of a class to choose from.", lower_bound=1)
_PROXIES = flags.DEFINE_integer(
    "proxies", 4, "Points of a class that are present, and points to take.", lower_bound=1
)
_SIZE = flags.DEFINE_integer("size", 128, "Size of the embeddings.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 51, "Turns; medians are printed.", lower_bound=1)


def ways(pool, present):
    """The functions to time, by name."""
    products = tf.function(
        lambda pool, present: (
            tf.matmul(pool, pool, transpose_b=True),
            tf.matmul(pool, present, transpose_b=True),
        )
    )
    tensors = tf.constant(pool), tf.constant(present)
    return {
        "greedy k-centre": lambda: greedy_k_center(pool, present, _PROXIES.value),
        "products, NumPy": lambda: (pool @ pool.mT, pool @ present.mT),
        "products, TensorFlow": lambda: [each.numpy() for each in products(pool, present)],
        "products, TensorFlow, of tensors": lambda: [each.numpy() for each in products(*tensors)],
        "reading the pool": lambda: np.vecdot(pool, pool),
    }


def milliseconds_of(function) -> float:
    """The time that a call takes."""
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def quartiles(values) -> str:
    """The median and, in brackets, the quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.2f} ({low:.2f}–{high:.2f})"


def main(_):
    """Runs the benchmark."""
    generator = np.random.default_rng(0)
    pool, present = (
        generator.standard_normal((_CLASSES.value, points, _SIZE.value)).astype("float32")
        for points in (_POOL.value, _PROXIES.value)
    )
    timed = ways(pool, present)
    for function in timed.values():
        function()
    times = {name: [] for name in timed}
    for _ in range(_REPEATS.value):
        for name, function in timed.items():
            times[name].append(milliseconds_of(function))
    print(
        f"{_CLASSES.value} classes, {_POOL.value} points of size {_SIZE.value} each, "
        f"{_PROXIES.value} present and to take; median (quartiles) of {_REPEATS.value} turns"
    )
    print("| | ms | greedy k-centre takes … × this and reading |")
    print("| --- | ---: | ---: |")
    chosen, reading = np.array(times["greedy k-centre"]), np.array(times["reading the pool"])
    for name, seconds in times.items():
        ratio = quartiles(chosen / (seconds + reading)) if name.startswith("products") else ""
        print(f"| {name} | {quartiles(seconds)} | {ratio} |")


if __name__ == "__main__":
    app.run(main)
