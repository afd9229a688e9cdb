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


def embedding_spread(embeddings: np.ndarray) -> float:
    """Root mean square distance of embeddings `(n, d)` to their mean; 0 if all are one point."""
    centered = embeddings - embeddings.mean(axis=0)
    return float(np.sqrt(np.square(centered).sum(axis=1).mean()))
