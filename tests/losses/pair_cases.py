"""Pairs that losses are tested on, and numbers they are compared with."""

import keras
import numpy as np
from keras import ops

from tests.automatic_gradients import value_and_gradients

# JAX turns float64 into float32.
TOLERANCE = 1e-9 if keras.backend.backend() == "tensorflow" else 1e-5


def values_and_gradients(loss, labels, embeddings, **options):
    """The loss, and its gradients with respect to embeddings and any references, as arrays."""
    inputs = [embeddings]
    if "references" in options:
        inputs.append(options.pop("references"))

    def compute(embeddings, *references):
        given = dict(zip(["references"], references, strict=False))
        return loss(labels, embeddings, **given, **options)

    value, gradients = value_and_gradients(compute, *inputs)
    return float(value), [ops.convert_to_numpy(gradient) for gradient in gradients]


def random_case(generator, n=12, r=15, d=5, classes=4, per_class=None):
    """Float64 vectors around the unit sphere, some inside and some outside.

    With `per_class`, there are that many references of every class.
    """
    labels, reference_labels = generator.integers(0, classes, n), generator.integers(0, classes, r)
    if per_class:
        reference_labels = generator.permutation(np.repeat(np.arange(r // per_class), per_class))
    scales = generator.uniform(0.3, 2, (n, 1))
    embeddings = scales * generator.standard_normal((n, d)) / np.sqrt(d)
    references = generator.standard_normal((len(reference_labels), d)) / np.sqrt(d)
    return labels, embeddings, references, reference_labels


EDGE_CASES = {
    "no positive pair": ([0, 1, 2], np.eye(3)),
    "no negative pair": ([4, 4, 4], np.eye(3)),
    "equal vectors": ([0, 0, 1, 1], np.full((4, 3), 0.3)),
    "equal vectors beyond the unit ball": ([0, 0, 1, 1], np.full((4, 3), 7.1)),
    "two pairs of equal vectors": ([0, 0, 1, 1], np.repeat([[0.1, 0.7, 0.2], [0.3, 0, 0.4]], 2, 0)),
    "zero vectors": ([0, 0, 1], np.zeros((3, 3))),
    "one class, one sample": ([5], np.ones((1, 3))),
    "huge vectors": ([0, 0, 1], 1e6 * np.eye(3)),
    "tiny vectors": ([0, 0, 1], 1e-12 * np.eye(3)),
}


def against(references, reference_labels):
    return {"references": references, "reference_labels": reference_labels}


def finite_differences(function, vectors, step=1e-6):
    numeric = np.zeros_like(vectors)
    for index in np.ndindex(vectors.shape):
        values = []
        for sign in (1, -1):
            shifted = vectors.copy()
            shifted[index] += sign * step
            values.append(function(shifted))
        numeric[index] = (values[0] - values[1]) / (2 * step)
    return numeric
