"""Deep metric learning with chance constraints (CCP) for Keras."""

from ccp_dml import data, evaluation, layers, losses, models, projections
from ccp_dml.evaluation import RetrievalValidation, retrieval_metrics
from ccp_dml.models import ChanceConstrainedModel, EmbeddingModel, MetricLearningModel
from ccp_dml.projections import AlternatingProjections

__version__ = "0.1.0"

__all__ = [
    "AlternatingProjections",
    "ChanceConstrainedModel",
    "EmbeddingModel",
    "MetricLearningModel",
    "RetrievalValidation",
    "data",
    "evaluation",
    "layers",
    "losses",
    "models",
    "projections",
    "retrieval_metrics",
]
