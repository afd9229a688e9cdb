"""Labelled samples for evaluation, and the retrieval metrics of a model on them."""

from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from ccp_dml.evaluation.embedding import embed
from ccp_dml.evaluation.retrieval import retrieval_metrics


@runtime_checkable
class EvaluationSamples(Protocol):
    """The interface of labelled samples that evaluation needs; those of `ccp_dml.data` have it."""

    @property
    def labels(self) -> np.ndarray:
        """The labels `(n,)`."""
        ...

    def evaluation_images(self, batch_size: int) -> Any:
        """Returns the inputs in order, a `tf.data.Dataset` of batches."""
        ...


Samples = EvaluationSamples | tuple[Any, np.ndarray]
"""Labelled samples, or a pair of inputs, an array or a `tf.data.Dataset` of batches, and labels."""


def evaluate_retrieval(
    model: keras.Model,
    data: Samples,
    gallery: Samples | None = None,
    recall_at: tuple[int, ...] = (1, 2, 4, 8),
    batch_size: int = 256,
) -> dict[str, float]:
    """Embeds samples with a model and measures retrieval among them or in a gallery.

    Args:
        model: A Keras model from inputs to embeddings.
        data: The queries: labelled samples in memory or in files, such as `load(name).test`, or a
            pair of inputs and labels `(n,)`.
        gallery: The samples to search, such as `load(name).gallery`. Defaults to `None`: each query
            is compared with the others.
        recall_at: The values of k for recall@k. Defaults to `(1, 2, 4, 8)`.
        batch_size: Number of inputs embedded at a time, if they are not in batches. Defaults to
            256.

    Returns:
        The metrics of `ccp_dml.evaluation.retrieval_metrics`.

    Raises:
        ValueError: If samples do not have one label each; see also `retrieval_metrics`.

    Example:

    >>> from ccp_dml.data import load
    >>> model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4)
    >>> list(evaluate_retrieval(model, load("digits").test, recall_at=(1,)))
    ['precision_at_1', 'r_precision', 'map_at_r', 'recall_at_1']
    """
    parts = []
    for samples in (data, gallery):
        inputs, labels = (None, None) if samples is None else unpack_samples(samples, batch_size)
        parts += [None if inputs is None else embed(model, inputs, batch_size), labels]
    return retrieval_metrics(*parts, recall_at=recall_at)


def unpack_samples(data: Samples, batch_size: int = 256) -> tuple[Any, np.ndarray]:
    """Returns the inputs and labels of samples.

    Args:
        data: Labelled samples, or a pair of inputs and labels.
        batch_size: Size of the batches in which labelled samples are read. Defaults to 256.

    Returns:
        Inputs, an array or a `tf.data.Dataset` of batches, and labels `(n,)` or `(n, 1)`.

    Raises:
        ValueError: If `data` is neither, or there is not one label per sample.
    """
    if isinstance(data, EvaluationSamples):
        return data.evaluation_images(batch_size), data.labels
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ValueError(
            "samples must be labelled samples, such as ccp_dml.data.load(…).test, or a pair "
            f"(inputs, labels); got {type(data).__name__}"
        )
    inputs, labels = data[0], np.asarray(data[1])
    if labels.shape[1:] not in ((), (1,)):
        raise ValueError(
            f"retrieval needs one class per sample, labels (n,); got labels of shape {labels.shape}"
        )
    if isinstance(inputs, np.ndarray) and len(inputs) != len(labels):
        raise ValueError(
            f"there must be one label for each input; got {len(inputs)} inputs and {len(labels)} "
            "labels"
        )
    return inputs, labels
