"""Image search in a gallery of SOP's size, beside the bare matrix product and faiss.

    python experiments/benchmarks/search.py
    python experiments/benchmarks/search.py --samples=1000000

The embeddings lie around class centres, with a spectrum that decays like the spectrum of a
network's embeddings. All searches get the same queries, samples that are not in the gallery, in
turn in one process; a ratio is the median of the ratios within a turn. The bare product multiplies
the queries with the gallery in blocks of the same size, without looking for the largest products.
Without faiss, its rows are left out. Recall is relative to the gallery's exact search, by
distances. Memory is the peak, while the index is built and during its first search, minus the
memory before, which includes the embeddings.
"""

import importlib.util
import time

import numpy as np
import tensorflow as tf
from absl import app, flags
from peak_memory import PeakMemory

from ccp_dml.evaluation.neighbors import BLOCK_BYTES
from ccp_dml.inference import Gallery

_SAMPLES = flags.DEFINE_integer("samples", 60_502, "Size of the gallery.", lower_bound=10_000)
_CLASSES = flags.DEFINE_integer("classes", 11_316, "Number of classes.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 128, "Size of the embeddings.", lower_bound=1)
_QUERIES = flags.DEFINE_integer("queries", 2000, "Number of queries.", lower_bound=1)
_K = flags.DEFINE_integer("k", 10, "Number of neighbours to find.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Turns; medians are printed.", lower_bound=1)

_EXACT = "Gallery, exact"


def draw_embeddings(generator, count):
    """Unit vectors around class centres, `(count, size)` float32."""
    spectrum = np.arange(1, _SIZE.value + 1) ** -0.5
    centers = np.random.default_rng(1).standard_normal((_CLASSES.value, _SIZE.value))
    embeddings = np.empty((count, _SIZE.value), "float32")
    for start in range(0, count, 100_000):
        block = embeddings[start : start + 100_000]
        labels = generator.integers(0, _CLASSES.value, len(block))
        block[:] = (centers[labels] + generator.standard_normal(block.shape)) * spectrum
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return embeddings


def product_search(embeddings):
    """The bare product, which returns no neighbours."""
    columns = tf.constant(embeddings.T)
    product = tf.function(lambda rows: tf.matmul(rows, columns))
    step = max(1, BLOCK_BYTES // (4 * len(embeddings)))

    def search(queries):
        for start in range(0, len(queries), step):
            product(tf.constant(queries[start : start + step]))

    return search


def gallery_search(embeddings, index):
    """Distances that a gallery finds."""
    gallery = Gallery.build(embeddings, np.arange(len(embeddings)), index)
    return lambda queries: gallery.search(queries, _K.value)[0]


def flat_search(embeddings):
    """Distances that the exact search of faiss finds."""
    import faiss

    index = faiss.IndexFlatL2(embeddings.shape[1])
    index.add(embeddings)
    return lambda queries: np.sqrt(np.maximum(index.search(queries, _K.value)[0], 0))


def ways():
    """The searches to time, by name, as functions from embeddings to a search."""
    exact = {
        _EXACT: lambda embeddings: gallery_search(embeddings, "exact"),
        "bare product": product_search,
    }
    if importlib.util.find_spec("faiss") is None:
        return exact
    return exact | {
        "faiss, IndexFlatL2": flat_search,
        "Gallery, hnsw": lambda embeddings: gallery_search(embeddings, "hnsw"),
        "Gallery, ivf_pq": lambda embeddings: gallery_search(embeddings, "ivf_pq"),
    }


def seconds_of(function, *arguments) -> float:
    """The time that a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main(_):
    """Runs the benchmark."""
    generator = np.random.default_rng(0)
    embeddings = draw_embeddings(generator, _SAMPLES.value)
    queries = draw_embeddings(generator, _QUERIES.value)
    searches, found, built, memory = {}, {}, {}, {}
    for name, build in ways().items():
        with PeakMemory() as peak:
            start = time.perf_counter()
            searches[name] = build(embeddings)
            built[name] = time.perf_counter() - start
            found[name] = searches[name](queries)
        memory[name] = peak.gigabytes
    times = {name: [] for name in searches}
    for _ in range(_REPEATS.value):
        for name, search in searches.items():
            times[name].append(seconds_of(search, queries))

    print(
        f"{_QUERIES.value} queries in a gallery of {_SAMPLES.value} x {_SIZE.value}, "
        f"{_K.value} neighbours; medians of {_REPEATS.value} turns"
    )
    print(f"| | queries/s | × {_EXACT} | recall@{_K.value} | built in s | GB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    exact = np.array(times[_EXACT])
    # The distances of faiss's exact search are rounded differently.
    farthest = found[_EXACT][:, -1:] + 1e-4
    for name, seconds in times.items():
        recall = "" if found[name] is None else f"{(found[name] <= farthest).mean():.3f}"
        print(
            f"| {name} | {_QUERIES.value / np.median(seconds):.0f} "
            f"| {np.median(exact / seconds):.2f} | {recall} | {built[name]:.1f} "
            f"| {memory[name]:.2f} |"
        )


if __name__ == "__main__":
    app.run(main)
