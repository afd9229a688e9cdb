"""A fingerprint of a run's samples, to detect changed data."""

import hashlib

import numpy as np

from ccp_dml.data import Benchmark, ImageFiles, LabeledSamples
from ccp_dml.experiment.training_data import TrainingData


def fingerprint_data(benchmark: Benchmark, data: TrainingData) -> str:
    """Returns a hash of the samples that a run trains, validates and tests on.

    It depends on their order, labels and class names and, for images in files, on the names of the
    files and their folders, but neither on the path of the data set nor on pixels, which are not
    read.

    Args:
        benchmark: The data set.
        data: Its split for training and validation.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(
        "\0".join(benchmark.class_names or ()).encode("utf-8", "surrogateescape")
    )
    parts = (
        data.train,
        data.validation,
        data.validation_gallery,
        benchmark.test,
        benchmark.gallery,
    )
    for part in parts:
        digest.update(b"\0" if part is None else _describe(part))
    return digest.hexdigest()[:16]


def _describe(samples: LabeledSamples):
    labels = np.asarray(samples.labels, "<i8").tobytes()
    if not isinstance(samples, ImageFiles):
        return labels
    names = ("/".join(path.split("/")[-2:]) for path in samples.paths.tolist())
    return labels + "\0".join(names).encode("utf-8", "surrogateescape")
