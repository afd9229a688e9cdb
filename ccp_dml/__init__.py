"""Deep metric learning with chance constraints (CCP) for Keras."""

from ccp_dml.backend_choice import check_backend_choice
from ccp_dml.program_start import prepare_program

check_backend_choice()
prepare_program()

from ccp_dml import (  # noqa: E402
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
from ccp_dml.callbacks import AlternatingProjections, RetrievalValidation  # noqa: E402
from ccp_dml.evaluation import evaluate_retrieval, retrieval_metrics  # noqa: E402
from ccp_dml.models import (  # noqa: E402
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
)

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
    "evaluate_retrieval",
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
