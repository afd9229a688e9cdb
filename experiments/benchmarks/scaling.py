"""Time and memory against the number of classes, 10² to 10⁶, and of searched embeddings.

    python experiments/benchmarks/scaling.py --output=docs/guides/scaling.png

Each point is measured in a separate process, so that the peak resident memory is its own; the
memory that TensorFlow takes at the start is subtracted. Points that need more than
`--max_gigabytes` are reported and left out. The measurements are:

- a training step, as `fit` runs it, of 8 classes × 4 samples against 4 proxies of size 128 for each
  class, with a small convolutional network on 32 × 32 pixels and without one, where embeddings are
  a product of the inputs with a square matrix; against all classes with Keras's Adam, and against
  `--sampled_classes` with `LazyAdam`; and, in turn in one process, the time of a step that samples
  `--sampled_classes` of the largest number of classes, as a multiple of the time of a step against
  all of only that many classes;
- greedy k-centre: 4 of 12 points of every class, with 4 present;
- the sampler of 8 × 4 batches, with five samples for each class: the time to its first batch, from
  the labels, and that of each further one;
- `retrieval_metrics` of 1,000 queries in a gallery.

Times are medians. While other programs run, processor time, of all threads together, is more
reliable than wall-clock time.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags
from matplotlib.figure import Figure

_PROXIES, _SIZE, _BATCH = 4, 128, 32
_POOL, _QUERIES = 12, 1_000
_COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)

_OUTPUT = flags.DEFINE_string("output", None, "File for the plot; by default none is drawn.")
_SAMPLED = flags.DEFINE_integer(
    "sampled_classes", 10_000, "Classes that a step draws beside its own.", lower_bound=1
)
_LARGEST = flags.DEFINE_integer(
    "largest", _COUNTS[-1], "Largest number of classes and of embeddings.", lower_bound=_COUNTS[0]
)
_REPEATS = flags.DEFINE_integer("repeats", 15, "Steps of which the median is taken.", lower_bound=1)
_MAX_GIGABYTES = flags.DEFINE_float(
    "max_gigabytes", 10.0, "Points that need more memory are left out.", lower_bound=0.0
)
_POINT = flags.DEFINE_string("point", None, "What to measure in this process, as name:count.")


def measure_time(function: Callable, repeats: int) -> dict[str, float]:
    """The median wall-clock and processor seconds of a call."""
    clock, processor = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        function()
        clock.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {"seconds": float(np.median(clock)), "processor": float(np.median(processor))}


def build_step(classes: int, with_network: bool, sampled_classes: int) -> Callable:
    """A training step against the proxies of all classes or, unless it is 0, of sampled ones."""
    import keras
    import tensorflow as tf

    from ccp_dml.models import EmbeddingModel, ProxyModel, small_convnet
    from ccp_dml.optimizers import LazyAdam

    if with_network:
        shape = (32, 32, 3)
        embedding_model = EmbeddingModel(small_convnet(shape), _SIZE)
    else:
        shape = (_SIZE,)
        inputs = keras.Input(shape)
        embedding_model = keras.Model(inputs, keras.layers.Dense(_SIZE, use_bias=False)(inputs))
    model = ProxyModel(
        embedding_model,
        classes,
        _PROXIES,
        batch_loss_weight=0.1,
        weight_decay=1e-4,
        sampled_classes=sampled_classes,
    )
    optimizer = LazyAdam if model.has_sampled_classes else keras.optimizers.Adam
    model.compile(optimizer(1e-4), loss="contrastive")
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((1, _BATCH, *shape)).astype("float32")
    labels = np.repeat(generator.integers(0, classes, (64, 8)), 4, axis=1)
    batches = tf.data.Dataset.from_tensor_slices(labels).repeat()
    batches = iter(batches.map(lambda labels: (tf.constant(inputs[0]), labels)).prefetch(2))
    model.make_train_function()

    def step():
        model.train_function(batches)

    # The first steps compile it, and make the optimizer's moments resident.
    measure_time(step, 3)
    return step


def measure_step(classes: int, with_network: bool, sampled_classes: int) -> dict[str, float]:
    """The time of a step."""
    return measure_time(build_step(classes, with_network, sampled_classes), _REPEATS.value)


def compare_steps(classes: int, with_network: bool) -> dict[str, float]:
    """The time of a step with sampled classes, as a multiple of one against only that many."""
    few = build_step(_SAMPLED.value, with_network, 0)
    sampled = build_step(classes, with_network, _SAMPLED.value)
    turns = [(measure_time(sampled, 1), measure_time(few, 1)) for _ in range(_REPEATS.value)]
    return {key: float(np.median([a[key] / b[key] for a, b in turns])) for key in turns[0][0]}


def measure_k_center(classes: int) -> dict[str, float]:
    """The choice of the proxies of all classes."""
    from ccp_dml.projections import greedy_k_center

    generator = np.random.default_rng(0)
    pool = generator.standard_normal((classes, _POOL, _SIZE), "float32")
    present = np.ascontiguousarray(pool[:, :_PROXIES])
    return measure_time(lambda: greedy_k_center(pool, present, _PROXIES), min(3, _REPEATS.value))


def measure_sampler(classes: int) -> dict[str, float]:
    """The time to the first batch, and that of the following ones."""
    from ccp_dml.data import balanced_batches

    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, 4 * classes)])
    # The first use of TensorFlow is not part of the sampler's time.
    next(iter(balanced_batches(np.arange(8), 8, 4, seed=0)))
    batches = []

    def start():
        batches.append(iter(balanced_batches(labels, 8, 4, seed=0)))
        next(batches[0])

    first = measure_time(start, 1)
    each = measure_time(lambda: [next(batches[0]) for _ in range(100)], _REPEATS.value)
    return {**first, "each": each["seconds"] / 100}


def measure_retrieval(embeddings: int) -> dict[str, float]:
    """The metrics of queries in a gallery, five of each class."""
    from ccp_dml.evaluation import retrieval_metrics

    generator = np.random.default_rng(0)
    gallery = generator.standard_normal((embeddings, _SIZE), "float32")
    labels = np.arange(embeddings) // 5
    rows = generator.choice(embeddings, min(_QUERIES, embeddings), replace=False)
    noise = generator.standard_normal((len(rows), _SIZE), "float32")
    queries = gallery[rows] + noise
    return measure_time(lambda: retrieval_metrics(queries, labels[rows], gallery, labels), 1)


MEASUREMENTS = {
    "step, all classes": lambda count: measure_step(count, False, 0),
    "step, sampled": lambda count: measure_step(count, False, _SAMPLED.value),
    "step with network, all classes": lambda count: measure_step(count, True, 0),
    "step with network, sampled": lambda count: measure_step(count, True, _SAMPLED.value),
    "ratio": lambda count: compare_steps(count, False),
    "ratio with network": lambda count: compare_steps(count, True),
    "k-centre": measure_k_center,
    "sampler": measure_sampler,
    "retrieval": measure_retrieval,
}


def estimate_gigabytes(name: str, count: int) -> float:
    """The least memory that a point needs, to leave it out if that is too much."""
    proxies = 4e-9 * _SIZE * _PROXIES * count
    if name.endswith("all classes"):
        # Proxies and two moments and, of the same size, the gradient, decayed, clipped, and the
        # step.
        return 8 * proxies
    if name.endswith("sampled") or name.startswith("ratio"):
        return 3.5 * proxies
    if name == "k-centre":
        return 4e-9 * _SIZE * _POOL * count * 1.5
    return 4e-9 * _SIZE * count * 3


def measure_in_a_process(name: str, count: int) -> dict[str, float] | None:
    """A point, or `None` if it is left out."""
    needed = estimate_gigabytes(name, count)
    if needed > _MAX_GIGABYTES.value:
        print(f"{name}, {count:,}: left out, it needs {needed:.0f} GB", flush=True)
        return None
    command = [sys.executable, __file__, f"--point={name}:{count}"]
    command += [f"--sampled_classes={_SAMPLED.value}", f"--repeats={_REPEATS.value}"]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    point = json.loads(run.stdout.splitlines()[-1])
    if name.startswith("ratio"):
        print(
            f"{name.replace('ratio', 'step')}, {_SAMPLED.value:,} of {count:,} classes sampled: "
            f"{point['seconds']:.2f} × that against all of {_SAMPLED.value:,}, in processor time "
            f"{point['processor']:.2f} ×",
            flush=True,
        )
    else:
        print(f"{name}, {count:,}: {format_point(point)}", flush=True)
    return point


def format_point(point: dict[str, float] | None) -> str:
    """A point as a cell of a table."""
    if point is None:
        return "–"
    each = f", then {1e3 * point['each']:.2f} ms each" if "each" in point else ""
    seconds = format_seconds(point["seconds"])
    return f"{seconds} ({format_seconds(point['processor'])}){each}, {point['gigabytes']:.2f} GB"


def format_seconds(seconds: float) -> str:
    """Milliseconds below a second."""
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def draw(points: dict[str, dict[int, dict[str, float]]], path: str):
    """Draws processor time and memory against the counts."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for name, by_count in points.items():
        counts = sorted(by_count)
        style = "--" if "all classes" in name else "-"
        for axes, key in ((times, "processor"), (memory, "gigabytes")):
            values = [by_count[count][key] for count in counts]
            axes.plot(counts, values, style, marker="o", markersize=3, label=name)
    times.set_ylabel("processor time in s")
    memory.set_ylabel("peak memory in GB")
    memory.legend(fontsize=8)
    for axes in (times, memory):
        axes.set(xscale="log", yscale="log", xlabel="classes, or embeddings in the gallery")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(_):
    """Runs the benchmark, or measures a point of it."""
    if _POINT.value:
        import tensorflow  # noqa: F401

        name, _, count = _POINT.value.rpartition(":")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        point = MEASUREMENTS[name](int(count))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({**point, "gigabytes": (peak - before) * 1024 / 1e9}))
        return
    counts = [count for count in _COUNTS if count <= _LARGEST.value]
    points = {
        name: {
            count: point
            for count in counts
            if (point := measure_in_a_process(name, count)) is not None
        }
        for name in MEASUREMENTS
        if not name.startswith("ratio")
    }
    for name in ("ratio", "ratio with network"):
        measure_in_a_process(name, counts[-1])
    print(f"\n| | {' | '.join(f'{count:,}' for count in counts)} |")
    print(f"| --- |{' ---: |' * len(counts)}")
    for name, by_count in points.items():
        cells = (format_point(by_count.get(count)) for count in counts)
        print(f"| {name} | {' | '.join(cells)} |")
    if _OUTPUT.value:
        draw(points, _OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
