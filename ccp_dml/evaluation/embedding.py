"""Embeddings as retrieval compares them."""

from collections.abc import Sequence

import keras
import numpy as np

from ccp_dml.layers import lipschitz_normalize


def embed(
    model: keras.Model,
    inputs,
    batch_size: int = 256,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> np.ndarray:
    """Embeds inputs as retrieval compares them.

    Args:
        model: A Keras model from inputs to embeddings.
        inputs: Array of inputs, or a `tf.data.Dataset` of batches of them.
        batch_size: Number of inputs at a time, if they are an array. Defaults to 256.
        callbacks: Passed to `model.predict`, to show progress. Defaults to none.

    Returns:
        Embeddings after the Lipschitz normalisation, float32 `(n, d)`.
    """
    batch_size = batch_size if isinstance(inputs, np.ndarray) else None
    embeddings = model.predict(inputs, batch_size=batch_size, verbose=0, callbacks=list(callbacks))
    return np.asarray(lipschitz_normalize(embeddings), "float32")


def concatenate_embeddings(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Puts the embeddings of several networks side by side and normalises the whole.

    The MLRC protocol ("A Metric Learning Reality Check", Musgrave et al., ECCV 2020) reports this
    of the networks of four folds: 512-d of four times 128-d.

    Args:
        parts: For each network its normalised embeddings `(n, d)` of the same images.

    Returns:
        `(n, sum of d)`, after the Lipschitz normalisation.
    """
    return np.asarray(lipschitz_normalize(np.concatenate(parts, axis=1)))


def embedding_spread(embeddings: np.ndarray) -> float:
    """Root mean square distance of embeddings `(n, d)` to their mean; 0 if all are one point."""
    centered = embeddings - embeddings.mean(axis=0)
    return float(np.sqrt(np.square(centered).sum(axis=1).mean()))
