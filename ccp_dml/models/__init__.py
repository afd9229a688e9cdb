"""Models: backbones, the embedding network, and how it is trained."""

from ccp_dml.models.backbones import get_backbone, value_scaling
from ccp_dml.models.chance_constrained import ChanceConstrainedModel
from ccp_dml.models.embedding import EmbeddingModel
from ccp_dml.models.freezing import freeze_batch_norm
from ccp_dml.models.metric_learning import MetricLearningModel
from ccp_dml.models.pretrained import load_backbone_weights
from ccp_dml.models.proxy import ProxyModel
from ccp_dml.models.small_convnet import small_convnet
from ccp_dml.models.variational import VariationalModel, VariationalPhases
from ccp_dml.models.variational_proxies import (
    VariationalChanceConstrainedModel,
    VariationalProxyModel,
)
from ccp_dml.models.warm_up import HoldBackbone

__all__ = [
    "ChanceConstrainedModel",
    "EmbeddingModel",
    "HoldBackbone",
    "MetricLearningModel",
    "ProxyModel",
    "VariationalChanceConstrainedModel",
    "VariationalModel",
    "VariationalPhases",
    "VariationalProxyModel",
    "freeze_batch_norm",
    "get_backbone",
    "load_backbone_weights",
    "small_convnet",
    "value_scaling",
]
