"""Evaluation of networks on the test classes: each alone, their mean, and their concatenation."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np
from absl import logging

from ccp_dml.callbacks import EmbeddingLine
from ccp_dml.data import DATASETS_IN_MEMORY, Benchmark, Preprocessing
from ccp_dml.data.preprocessing import parse_color
from ccp_dml.evaluation import concatenate_embeddings, embed
from ccp_dml.experiment.concatenation import CONCATENATED
from ccp_dml.experiment.metrics import HIGH, LOW, Measurement, measure
from ccp_dml.experiment.settings import Settings
from ccp_dml.inference import ImageEmbedder
from ccp_dml.inference.load import read_network
from ccp_dml.models import value_scaling


def embed_test(
    model: keras.Model, benchmark: Benchmark, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> list[np.ndarray]:
    """Returns normalised embeddings of the test samples and, if there is one, of the gallery.

    Args:
        model: A model from images to embeddings.
        benchmark: The data.
        callbacks: Passed to `model.predict`, to show progress. Defaults to none.

    Returns:
        One or two float32 arrays `(n, d)`.
    """
    parts = [benchmark.test] + ([benchmark.gallery] if benchmark.gallery is not None else [])
    return [embed(model, part.evaluation_images(), callbacks=callbacks) for part in parts]


def load_networks(paths: Sequence[str]) -> dict[str, keras.Model]:
    """Loads saved networks with or without their preprocessing.

    Args:
        paths: Files `model.keras` written by training.

    Returns:
        See `ccp_dml.inference.load.read_network`, by path.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is not a network, or is given twice.
    """
    if len(set(paths)) < len(paths):
        raise ValueError(f"each network must be given once; got {', '.join(paths)}")
    return {path: read_network(path) for path in paths}


def adopt_preprocessing(
    networks: Mapping[str, keras.Model], settings: Settings, given: Collection[str] = ()
) -> Settings:
    """Adopts the preprocessing of images in files from networks.

    Networks that were saved without their preprocessing use that of the settings, which is logged.

    Args:
        networks: What `load_networks` returned.
        settings: The settings.
        given: Names of the settings that were given explicitly and must not be contradicted.
            Defaults to none.

    Returns:
        The settings with the preprocessing of the first network, unless some network has none.

    Raises:
        ValueError: If a given setting contradicts a network; the message names both values.
    """
    known = {
        path: network.preprocessing
        for path, network in networks.items()
        if isinstance(network, ImageEmbedder)
    }
    for path, preprocessing in known.items():
        _check_given(path, preprocessing, settings, given)
    unknown = [path for path in networks if path not in known]
    for path in unknown:
        logging.warning(
            "%s was saved without its preprocessing: images are prepared according to the "
            "settings, which must be those of its training.",
            path,
        )
    if unknown or not known:
        return settings
    first = next(iter(known.values()))
    return dataclasses.replace(
        settings,
        image_size=first.image_size,
        resize_size=first.shorter_side,
        scaling=first.scaling,
        background=first.background,
        fit=first.fit,
    )


def _check_given(path, saved, settings, given):
    wanted = {}
    if settings.scaling != "auto":
        if "scaling" in given:
            wanted["scaling"] = (settings.scaling, saved.scaling)
    elif "backbone" in given and settings.dataset not in DATASETS_IN_MEMORY:
        scaling = value_scaling(settings.backbone)
        wanted[f"scaling of backbone {settings.backbone}"] = (scaling, saved.scaling)
    if settings.dataset not in DATASETS_IN_MEMORY:
        if "image_size" in given:
            wanted["image_size"] = (settings.image_size, saved.image_size)
        if "resize_size" in given:
            default = Preprocessing(saved.image_size).shorter_side
            wanted["resize_size"] = (settings.resize_size or default, saved.shorter_side)
        color = parse_color("background", settings.background)
        if "background" in given and color != saved.background_color:
            wanted["background"] = (settings.background, saved.background)
        if "fit" in given:
            wanted["fit"] = (settings.fit, saved.fit)
    for name, (value, network_value) in wanted.items():
        if value != network_value:
            raise ValueError(
                f"{name} is {value}, but {path} was trained with {network_value}: omit the flag, "
                "because the setting is saved with the network"
            )


def measure_networks(
    networks: Mapping[str, keras.Model], benchmark: Benchmark, settings: Settings
) -> dict[str, Measurement]:
    """Measures networks, each alone and all concatenated.

    The MLRC protocol ("A Metric Learning Reality Check", Musgrave et al., ECCV 2020) reports, of
    the networks of four folds, the mean of their metrics and the metrics of their concatenation.

    Args:
        networks: Networks by name. An `ImageEmbedder` uses its own preprocessing, other models that
            of the benchmark.
        benchmark: The data.
        settings: See `ccp_dml.experiment.metrics.measure`.

    Returns:
        A `Measurement` of each network and, if there are several, `"concatenated"`: their
        normalised embeddings side by side, normalised as a whole.

    Raises:
        ValueError: If a network does not fit the images of the benchmark.
    """
    prepared = _prepare_benchmarks(networks, benchmark)
    embedded = {
        name: embed_test(_bare(network), prepared[name], [EmbeddingLine()])
        for name, network in networks.items()
    }
    measured = {
        name: measure(embeddings, benchmark, settings) for name, embeddings in embedded.items()
    }
    if len(networks) > 1:
        together = [concatenate_embeddings(parts) for parts in zip(*embedded.values(), strict=True)]
        measured[CONCATENATED] = measure(together, benchmark, settings)
    return measured


def metric_rows(measured: Mapping[str, Measurement]) -> dict[str, dict[str, float]]:
    """Returns the metrics of networks as rows of a table.

    Args:
        measured: What `measure_networks` returned.

    Returns:
        The metrics of each network and, if there are several, the `"mean"` of their metrics,
        without intervals, and those of their `"concatenated"` embeddings.
    """
    rows = {name: measurement.metrics for name, measurement in measured.items()}
    together = rows.pop(CONCATENATED, None)
    if together is None:
        return rows
    single = list(rows.values())
    rows["mean"] = {
        metric: float(np.mean([metrics[metric] for metrics in single]))
        for metric in single[0]
        if not metric.endswith((LOW, HIGH))
    }
    return rows | {CONCATENATED: together}


def _prepare_benchmarks(networks, benchmark):
    """Returns the benchmark for each network, the same object for the same preprocessing."""
    by_preprocessing, prepared = {}, {}
    for name, network in networks.items():
        prepared[name] = benchmark
        if isinstance(network, ImageEmbedder):
            preprocessing = network.preprocessing
            if preprocessing not in by_preprocessing:
                try:
                    by_preprocessing[preprocessing] = benchmark.with_preprocessing(preprocessing)
                except ValueError as error:
                    raise ValueError(f"{name} does not fit the data: {error}") from error
            prepared[name] = by_preprocessing[preprocessing]
        _check_shape(name, _bare(network), prepared[name])
    return prepared


def _bare(network):
    """Returns a network without the preprocessing that data sets do for it."""
    return network.network if isinstance(network, ImageEmbedder) else network


def _check_shape(name, network, benchmark):
    if getattr(network, "input_shape", None) is None:
        raise ValueError(f"{name} does not specify the shape of its input images")
    wanted, given = tuple(network.input_shape[1:]), tuple(benchmark.train.image_shape)
    if len(wanted) != len(given) or any(
        size not in (None, there) for size, there in zip(wanted, given, strict=True)
    ):
        raise ValueError(
            f"{name} is for images of shape {wanted}; those of the data set have {given}"
        )
