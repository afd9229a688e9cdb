"""Models: backbones, the embedding network, and how it is trained."""

from ccp_dml.models.backbones import (
    get_backbone,
    load_backbone_weights,
    small_convnet,
    value_scaling,
)
from ccp_dml.models.chance_constrained import ChanceConstrainedModel
from ccp_dml.models.embedding import EmbeddingModel
from ccp_dml.models.freeze_batch_norm import freeze_batch_norm
from ccp_dml.models.metric_learning import MetricLearningModel
from ccp_dml.models.proxy import ProxyModel
from ccp_dml.models.variational import VariationalModel
from ccp_dml.models.variational_proxies import (
    VariationalChanceConstrainedModel,
    VariationalProxyModel,
)

__all__ = [
    "ChanceConstrainedModel",
    "EmbeddingModel",
    "MetricLearningModel",
    "ProxyModel",
    "VariationalChanceConstrainedModel",
    "VariationalModel",
    "VariationalProxyModel",
    "freeze_batch_norm",
    "get_backbone",
    "load_backbone_weights",
    "small_convnet",
    "value_scaling",
]
