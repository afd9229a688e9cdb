"""What networks are worth on the test classes: alone, on the average, and concatenated."""

from collections.abc import Sequence

import keras
import numpy as np
from etils import epath

from ccp_dml.callbacks import EmbeddingLine
from ccp_dml.data import Benchmark
from ccp_dml.evaluation import clustering_metrics, covering_radius, embed, retrieval_metrics
from ccp_dml.experiment.concatenation import concatenate_embeddings
from ccp_dml.experiment.settings import Settings

# Metrics that are numbers of a table, with their titles.
COLUMNS = {
    "precision_at_1": "P@1",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "nmi": "NMI",
    "pairwise_f1": "F1",
    "covering_radius": "covering radius",
}


def embed_test(
    model: keras.Model, benchmark: Benchmark, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> list[np.ndarray]:
    """Normalised embeddings of the test samples and, if there is one, of the gallery.

    Args:
        model: From images to embeddings.
        benchmark: The data.
        callbacks: Passed to `model.predict`, to show progress. Defaults to none.

    Returns:
        One or two float32 arrays `(n, d)`.
    """
    parts = [benchmark.test] + ([benchmark.gallery] if benchmark.gallery is not None else [])
    return [embed(model, part.evaluation_images(), callbacks=callbacks) for part in parts]


def measure(
    embeddings: Sequence[np.ndarray], benchmark: Benchmark, settings: Settings
) -> dict[str, float]:
    """Retrieval, covering radius and, if `settings.clustering`, agreement of clusters and classes.

    Args:
        embeddings: As `embed_test` gives them.
        benchmark: Has the classes.
        settings: `proxies_per_class` is the number of centres of the covering radius.

    Returns:
        Numbers by name; see `ccp_dml.evaluation`.
    """
    labels = benchmark.test.labels
    if benchmark.gallery is None:
        (every_embedding,) = embeddings
        metrics = retrieval_metrics(every_embedding, labels)
    else:
        query_embeddings, gallery_embeddings = embeddings
        metrics = retrieval_metrics(
            query_embeddings, labels, gallery_embeddings, benchmark.gallery.labels
        )
        every_embedding = np.concatenate([query_embeddings, gallery_embeddings])
        labels = np.concatenate([labels, benchmark.gallery.labels])
    if settings.clustering:
        metrics |= clustering_metrics(every_embedding, labels, settings.seed)
    radii = covering_radius(every_embedding, labels, num_centers=settings.proxies_per_class)
    return {**metrics, "covering_radius": float(radii[:, -1].mean())}


def measure_networks(
    paths: Sequence[str], benchmark: Benchmark, settings: Settings
) -> dict[str, dict[str, float]]:
    """Measures saved networks, each alone and all together.

    The MLRC protocol ("A Metric Learning Reality Check", Musgrave et al., ECCV 2020) reports, of
    the networks of four folds, the mean of their metrics and the metrics of their concatenation.

    Args:
        paths: Files that training left, `model.keras`.
        benchmark: The data.
        settings: See `measure`.

    Returns:
        The metrics of each path and, of several, `"mean"` and `"concatenated"`: those of the
        embeddings side by side, each normalised and then the whole.

    Raises:
        ValueError: If a file is not a network for the images of the benchmark, or is given twice.
    """
    if len(set(paths)) < len(paths):
        raise ValueError(f"each network must be given once; got {', '.join(paths)}")
    networks = [_load_network(path, benchmark) for path in paths]
    embedded = [embed_test(network, benchmark, [EmbeddingLine()]) for network in networks]
    measured = {
        path: measure(embeddings, benchmark, settings)
        for path, embeddings in zip(paths, embedded, strict=True)
    }
    if len(paths) > 1:
        mean = {
            name: float(np.mean([metrics[name] for metrics in measured.values()]))
            for name in measured[paths[0]]
        }
        together = [concatenate_embeddings(parts) for parts in zip(*embedded, strict=True)]
        measured |= {"mean": mean, "concatenated": measure(together, benchmark, settings)}
    return measured


def _load_network(path, benchmark):
    if not epath.Path(path).exists():
        raise ValueError(f"the network {path} does not exist")
    try:
        network = keras.models.load_model(path)
    except (ValueError, TypeError, OSError, LookupError) as error:
        raise ValueError(f"{path} is not a network saved by Keras: {error}") from error
    # Of a model that was saved while it trained, as in a notebook, the network that it trains.
    network = getattr(network, "embedding_model", network)
    if getattr(network, "input_shape", None) is None:
        raise ValueError(f"{path} does not say the shape of the images that it takes")
    wanted, given = tuple(network.input_shape[1:]), tuple(benchmark.train.image_shape)
    if len(wanted) != len(given) or any(
        size not in (None, there) for size, there in zip(wanted, given, strict=True)
    ):
        raise ValueError(f"{path} is for images of the shape {wanted}; those here have {given}")
    return network
