"""Models: backbones, the embedding network, and how it is trained."""

from ccp_dml.models.chance_constrained import ChanceConstrainedModel
from ccp_dml.models.embedding import EmbeddingModel
from ccp_dml.models.metric_learning import MetricLearningModel
from ccp_dml.models.pretrained import load_backbone_weights
from ccp_dml.models.small_convnet import small_convnet

__all__ = [
    "ChanceConstrainedModel",
    "EmbeddingModel",
    "MetricLearningModel",
    "load_backbone_weights",
    "small_convnet",
]
