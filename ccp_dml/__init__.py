"""Deep metric learning with chance constraints (CCP) for Keras."""

from ccp_dml import (
    callbacks,
    data,
    distribution,
    evaluation,
    inference,
    layers,
    losses,
    miners,
    models,
    optimizers,
    projections,
)
from ccp_dml.callbacks import AlternatingProjections, RetrievalValidation
from ccp_dml.evaluation import retrieval_metrics
from ccp_dml.models import ChanceConstrainedModel, EmbeddingModel, MetricLearningModel

__version__ = "0.1.0"

__all__ = [
    "AlternatingProjections",
    "ChanceConstrainedModel",
    "EmbeddingModel",
    "MetricLearningModel",
    "RetrievalValidation",
    "callbacks",
    "data",
    "distribution",
    "evaluation",
    "inference",
    "layers",
    "losses",
    "miners",
    "models",
    "optimizers",
    "projections",
    "retrieval_metrics",
]
