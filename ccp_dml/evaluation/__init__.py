"""Evaluation: retrieval, clusters, covering radius, and the callbacks that validate."""

from ccp_dml.evaluation.clustering import clustering_metrics
from ccp_dml.evaluation.covering import covering_radius, radius_by_centers
from ccp_dml.evaluation.failure import TerminateOnFailure
from ccp_dml.evaluation.retrieval import retrieval_metrics
from ccp_dml.evaluation.validation import MONITORS, RetrievalValidation, embed, embedding_spread

__all__ = [
    "MONITORS",
    "RetrievalValidation",
    "TerminateOnFailure",
    "clustering_metrics",
    "covering_radius",
    "embed",
    "embedding_spread",
    "radius_by_centers",
    "retrieval_metrics",
]
