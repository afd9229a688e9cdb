"""Retrieval metrics on a test set of SOP's size, beside the bare blocked matrix product.

    python experiments/benchmarks/retrieval.py

Prints, measured side by side in one process, the time of `retrieval_metrics`, the time of the
matrix product of the embeddings with themselves in blocks of the same size, their ratio, and the
memory that the metrics needed beyond the embeddings.
"""

import statistics
import time

import numpy as np
import tensorflow as tf
from absl import app, flags
from peak_memory import PeakMemory

from ccp_dml.evaluation import retrieval_metrics

_SAMPLES = flags.DEFINE_integer("samples", 60_502, "Number of embeddings.", lower_bound=1)
_CLASSES = flags.DEFINE_integer("classes", 11_316, "Number of classes.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 128, "Size of the embeddings.", lower_bound=1)
_ROWS = flags.DEFINE_integer("rows", 1024, "Rows in a block of the bare product.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Repetitions; medians are printed.", lower_bound=1)


def seconds_of(function) -> float:
    """The time that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main(_):
    """Runs the benchmark."""
    generator = np.random.default_rng(0)
    labels = np.arange(_SAMPLES.value) % _CLASSES.value
    centers = generator.standard_normal((_CLASSES.value, _SIZE.value)).astype("float32")
    embeddings = centers[labels]
    embeddings += 1.5 * generator.standard_normal(embeddings.shape).astype("float32")
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)

    with PeakMemory() as memory:
        metrics = retrieval_metrics(embeddings, labels)
    print("metrics:", ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))

    columns = tf.constant(embeddings.T)
    product = tf.function(lambda rows: tf.matmul(rows, columns))

    def bare_product():
        for start in range(0, len(embeddings), _ROWS.value):
            product(tf.constant(embeddings[start : start + _ROWS.value]))

    bare_product()
    times = [
        (seconds_of(lambda: retrieval_metrics(embeddings, labels)), seconds_of(bare_product))
        for _ in range(_REPEATS.value)
    ]
    metrics_time, product_time = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(ours / bare for ours, bare in times)
    print(
        f"{_SAMPLES.value} x {_SIZE.value} embeddings of {_CLASSES.value} classes: retrieval "
        f"metrics {metrics_time:.2f} s, bare blocked product {product_time:.2f} s, ratio "
        f"{ratio:.2f}; {memory.gigabytes:.2f} GB beyond the embeddings"
    )


if __name__ == "__main__":
    app.run(main)
