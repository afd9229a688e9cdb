"""Retrieval metrics on a test set of SOP's size, and on one of few classes, beside bare work.

    python experiments/benchmarks/retrieval.py

Prints, measured in turn in one process, wall-clock and processor time of `retrieval_metrics`, of
the same with metrics of the whole ranking, of `verification_metrics` of all pairs, of the matrix
product of the embeddings with themselves in blocks, and of the plain way to rank them: the same
product and TensorFlow's `top_k`, as deep as the largest class, for some of the queries. A query of
SOP has 5 neighbours to find; where there are few classes, half of the others. `--pairs` bounds the
pairs of verification, whose time is then scaled up to that of all pairs.
"""

import statistics
import time

import numpy as np
import tensorflow as tf
from absl import app, flags
from peak_memory import PeakMemory

from ccp_dml.evaluation import retrieval_metrics, verification_metrics

_SAMPLES = flags.DEFINE_integer("samples", 60_502, "Number of embeddings.", lower_bound=1)
_CLASSES = flags.DEFINE_integer("classes", 11_316, "Number of classes.", lower_bound=1)
_FEW_SAMPLES = flags.DEFINE_integer(
    "few_samples", 20_000, "Number of embeddings of few classes.", lower_bound=1
)
_FEW_CLASSES = flags.DEFINE_integer("few_classes", 2, "Number of few classes.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 128, "Size of the embeddings.", lower_bound=1)
_ROWS = flags.DEFINE_integer("rows", 1024, "Rows in a block of the bare product.", lower_bound=1)
_RANKED = flags.DEFINE_integer(
    "ranked", 2048, "Number of queries that are ranked the plain way.", lower_bound=1
)
_PAIRS = flags.DEFINE_integer(
    "pairs", 2_000_000_000, "Most pairs of verification to compare.", lower_bound=1
)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Repetitions; medians are printed.", lower_bound=1)


def measure_time(function) -> np.ndarray:
    """Wall-clock and processor time that a call takes, in seconds `(2,)`."""
    start = np.array([time.perf_counter(), time.process_time()])
    function()
    return np.array([time.perf_counter(), time.process_time()]) - start


def make_embeddings(samples: int, classes: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Normalised embeddings that overlap between classes of equal size, and their labels."""
    generator = np.random.default_rng(0)
    labels = np.arange(samples) % classes
    centers = generator.standard_normal((classes, _SIZE.value))
    embeddings = centers[labels] + 1.5 * generator.standard_normal((samples, _SIZE.value))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(dtype), labels


def compare(samples: int, classes: int, dtype: str):
    """Measures and prints one case."""
    embeddings, labels = make_embeddings(samples, classes, dtype)
    with PeakMemory() as memory:
        metrics = retrieval_metrics(embeddings, labels)
    columns = tf.constant(embeddings.T)
    product = tf.function(lambda rows: tf.matmul(rows, columns))
    depth = np.bincount(labels).max()
    ranking = tf.function(lambda rows: tf.math.top_k(tf.matmul(rows, columns), depth).indices)

    def run_blocks(function, rows):
        for start in range(0, rows, _ROWS.value):
            function(tf.constant(embeddings[start : min(start + _ROWS.value, rows)]))

    ranked = min(_RANKED.value, samples)
    ways = {
        "retrieval_metrics": (lambda: retrieval_metrics(embeddings, labels), samples),
        "with MAP, MRR, MAP@10": (
            lambda: retrieval_metrics(embeddings, labels, metrics=("map", "mrr", "map_at_10")),
            samples,
        ),
        "verification": (
            lambda: verification_metrics(embeddings, labels, max_pairs=_PAIRS.value),
            min(samples, max(1, 2 * _PAIRS.value // samples)),
        ),
        "bare product": (lambda: run_blocks(product, samples), samples),
        "product and top_k": (lambda: run_blocks(ranking, ranked), ranked),
    }
    times = {name: [] for name in ways}
    for work, _ in ways.values():
        work()
    for _ in range(_REPEATS.value):
        for name, (work, queries) in ways.items():
            times[name].append(measure_time(work) * samples / queries)
    print(f"\n{samples} x {_SIZE.value} {dtype} embeddings of {classes} classes")
    print("metrics:", ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"{memory.gigabytes:.2f} GB beyond the embeddings")
    for name, measured in times.items():
        wall, processor = np.median(measured, axis=0)
        pairs = zip(times["retrieval_metrics"], measured, strict=True)
        ratio = statistics.median(other[1] / ours[1] for ours, other in pairs)
        print(f"{name:21s} {wall:6.2f} s, {processor:6.2f} s of processors, ratio {ratio:.2f}")


def main(_):
    """Runs the benchmark."""
    compare(_SAMPLES.value, _CLASSES.value, "float32")
    compare(_FEW_SAMPLES.value, _FEW_CLASSES.value, "float32")
    compare(_FEW_SAMPLES.value, _FEW_CLASSES.value, "float64")


if __name__ == "__main__":
    app.run(main)
