"""Deep variational metric learning with proxies."""

import keras

from ccp_dml.models.chance_constrained import ChanceConstrainedModel
from ccp_dml.models.proxy import ProxyModel
from ccp_dml.models.variational import VariationalModel


@keras.saving.register_keras_serializable("ccp_dml")
class VariationalProxyModel(VariationalModel, ProxyModel):
    """DVML over a loss against proxies: `L₃` and `L₄` are what `ProxyModel` minimises.

    Synthesised embeddings and the embeddings z_I are compared with the same proxies.

    Args:
        embedding_model: An `EmbeddingModel`; its projection makes z_I.
        **kwargs: See `VariationalModel` and `ProxyModel`; `num_classes` is required.

    Example:

    >>> embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    >>> model = VariationalProxyModel(embedding_model, num_classes=5, num_samples=4)
    >>> model.compile(keras.optimizers.Adam(1e-3), loss="proxy_anchor")
    >>> images, labels = np.random.rand(20, 8, 8, 1), np.arange(20) % 5
    >>> history = model.fit(images, labels, batch_size=10, verbose=0)
    >>> model.synthesize(images, num_samples=3).shape
    (20, 3, 16)
    """


@keras.saving.register_keras_serializable("ccp_dml")
class VariationalChanceConstrainedModel(VariationalModel, ChanceConstrainedModel):
    """DVML in rounds of CCP: `L₃` and `L₄` are the loss of one round.

    The callback `ccp_dml.callbacks.AlternatingProjections` chooses the proxies among the embeddings
    z_I. The proximal term covers only the weights of the network, not the variance heads and the
    decoder, which are not used after training.

    Args:
        embedding_model: An `EmbeddingModel`; its projection makes z_I.
        **kwargs: See `VariationalModel` and `ChanceConstrainedModel`; `num_classes` is required.

    Example:

    >>> embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    >>> model = VariationalChanceConstrainedModel(embedding_model, num_classes=5, num_samples=4)
    >>> model.compile(keras.optimizers.Adam(1e-3), loss="contrastive")
    >>> images, labels = np.random.rand(20, 8, 8, 1), np.arange(20) % 5
    >>> history = model.fit(images, labels, batch_size=10, verbose=0)
    >>> "synthesized" in history.history and "proximal_term" in history.history
    True
    """
