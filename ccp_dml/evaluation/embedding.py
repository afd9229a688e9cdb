"""Embeddings as retrieval compares them."""

import weakref
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from ccp_dml.data import LabeledSamples
from ccp_dml.data.parallelism import disable_autotuning
from ccp_dml.distribution import STATIC_SHAPES, BatchMap, count_shares, strategy_of
from ccp_dml.layers import lipschitz_normalize
from ccp_dml.models.keras_internals import trace_predict_function

# Keeps a model from being traced again at every validation.
_BATCH_MAPS: weakref.WeakKeyDictionary[keras.Model, BatchMap] = weakref.WeakKeyDictionary()


def embed(
    model: keras.Model,
    inputs: np.ndarray | tf.data.Dataset,
    batch_size: int = 256,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> np.ndarray:
    """Embeds inputs as retrieval compares them.

    A model under a strategy of several devices is run on all of them; see
    `ccp_dml.distribution.BatchMap`. All workers then have to call this, and all get the same
    embeddings as on one device.

    Args:
        model: A Keras model from inputs to embeddings.
        inputs: Array of inputs, a `tf.data.Dataset` of batches of them, or labelled samples, which
            are prepared as evaluation sees them.
        batch_size: Number of inputs per batch, if they are not in batches. Defaults to 256.
        callbacks: Callbacks with the hooks of `model.predict`, to show progress. Defaults to none.

    Returns:
        Embeddings after the Lipschitz normalisation, float32 `(n, d)`.
    """
    if isinstance(inputs, LabeledSamples):
        inputs = inputs.evaluation_images(batch_size)
    if STATIC_SHAPES or count_shares(model) > 1:
        embeddings = _predict_on_all_devices(model, inputs, batch_size, callbacks)
    else:
        if isinstance(inputs, tf.data.Dataset):
            trace_predict_function(model, inputs)
        embeddings = model.predict(
            inputs,
            batch_size=batch_size if isinstance(inputs, np.ndarray) else None,
            verbose=0,
            callbacks=list(callbacks),
        )
    return np.asarray(lipschitz_normalize(embeddings), "float32")


def _predict_on_all_devices(model, inputs, batch_size, callbacks):
    if not isinstance(inputs, tf.data.Dataset):
        inputs = tf.data.Dataset.from_tensor_slices(inputs).batch(batch_size)
        inputs = disable_autotuning(inputs)
    num_batches = inputs.cardinality().numpy()
    callbacks = keras.callbacks.CallbackList(
        callbacks,
        model=model,
        verbose=0,
        epochs=1,
        steps=num_batches if num_batches >= 0 else None,
    )
    computed = 0

    def on_batches(count):
        nonlocal computed
        for batch in range(computed, computed + count):
            callbacks.on_predict_batch_begin(batch)
            callbacks.on_predict_batch_end(batch)
        computed += count

    if STATIC_SHAPES and not model.built:
        # Compiled functions cannot create variables.
        _embed_batch(model, next(iter(inputs)))
    callbacks.on_predict_begin()
    embeddings = _batch_map(model)(inputs, on_batches)
    callbacks.on_predict_end()
    return embeddings


def _batch_map(model):
    if model not in _BATCH_MAPS:
        # No reference to the model: a dictionary with weak keys keeps alive what its values refer
        # to.
        find_model = weakref.ref(model)
        _BATCH_MAPS[model] = BatchMap(
            lambda batch: _embed_batch(find_model(), batch), model.variables, strategy_of(model)
        )
    return _BATCH_MAPS[model]


def _embed_batch(model, batch):
    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return model(inputs, training=False)


def concatenate_embeddings(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Puts the embeddings of several networks side by side and normalises the whole.

    The MLRC protocol ("A Metric Learning Reality Check", Musgrave et al., ECCV 2020) reports this
    for the networks of four folds: four times 128-d gives 512-d.

    Args:
        parts: For each network its normalised embeddings `(n, d)` of the same images.

    Returns:
        `(n, sum of d)`, after the Lipschitz normalisation.
    """
    return np.asarray(lipschitz_normalize(np.concatenate(parts, axis=1)))


def embedding_spread(embeddings: np.ndarray) -> float:
    """Computes the root mean square distance of embeddings `(n, d)` from their mean."""
    centered = embeddings - embeddings.mean(axis=0)
    return float(np.sqrt(np.square(centered).sum(axis=1).mean()))
