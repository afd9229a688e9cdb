"""Distances of positive and negative pairs."""

import numpy as np

from ccp_dml.evaluation.class_labels import flatten_labels
from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import pair_masks

_MAX_SAMPLES = 1000


def pair_distances(
    embeddings: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the distances of positive and of negative pairs among at most 1,000 samples.

    Args:
        embeddings: `(n, d)`.
        labels: `(n,)` or `(n, 1)`.
        seed: Determines which samples are used if there are more. Defaults to 0.

    Returns:
        Two vectors of Euclidean distances.
    """
    embeddings, labels = np.asarray(embeddings, "float32"), flatten_labels(labels)
    if len(labels) > _MAX_SAMPLES:
        # Whole classes, so that there are positive pairs however many classes there are.
        classes = np.unique(labels)
        shuffled = np.random.default_rng(seed).permutation(len(classes))
        rank = shuffled[np.searchsorted(classes, labels)]
        chosen = np.argsort(rank, kind="stable")[:_MAX_SAMPLES]
        embeddings, labels = embeddings[chosen], labels[chosen]
    distances = np.asarray(euclidean_distances(embeddings, embeddings))
    positives, negatives = map(np.asarray, pair_masks(labels))
    return distances[positives], distances[negatives]
