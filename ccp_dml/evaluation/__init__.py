"""Evaluation: embeddings, retrieval, verification, clustering, covering radius."""

from ccp_dml.evaluation.averages import ClassMetrics, bootstrap_intervals, metrics_by_class
from ccp_dml.evaluation.chosen_metrics import (
    METRICS,
    ChosenMetrics,
    choose_metrics,
    is_metric,
)
from ccp_dml.evaluation.clustering import CLUSTERING_METRICS, clustering_metrics
from ccp_dml.evaluation.covering import covering_radius, radius_by_centers
from ccp_dml.evaluation.embedding import concatenate_embeddings, embed, embedding_spread
from ccp_dml.evaluation.inspection import (
    NearDuplicates,
    SuspiciousLabels,
    duplicate_distance,
    find_near_duplicates,
    find_suspicious_labels,
)
from ccp_dml.evaluation.neighbors import nearest_neighbors
from ccp_dml.evaluation.pair_distances import pair_distances
from ccp_dml.evaluation.query_metrics import QUERY_METRICS
from ccp_dml.evaluation.retrieval import (
    QueryRetrieval,
    metrics_by_query,
    retrieval_by_query,
    retrieval_metrics,
)
from ccp_dml.evaluation.samples import (
    EvaluationSamples,
    Samples,
    evaluate_retrieval,
    unpack_samples,
)
from ccp_dml.evaluation.verification import VERIFICATION_METRICS, verification_metrics

__all__ = [
    "CLUSTERING_METRICS",
    "METRICS",
    "QUERY_METRICS",
    "VERIFICATION_METRICS",
    "ChosenMetrics",
    "ClassMetrics",
    "EvaluationSamples",
    "NearDuplicates",
    "QueryRetrieval",
    "Samples",
    "SuspiciousLabels",
    "bootstrap_intervals",
    "choose_metrics",
    "clustering_metrics",
    "concatenate_embeddings",
    "covering_radius",
    "duplicate_distance",
    "embed",
    "embedding_spread",
    "evaluate_retrieval",
    "find_near_duplicates",
    "find_suspicious_labels",
    "is_metric",
    "metrics_by_class",
    "metrics_by_query",
    "nearest_neighbors",
    "pair_distances",
    "radius_by_centers",
    "retrieval_by_query",
    "retrieval_metrics",
    "unpack_samples",
    "verification_metrics",
]
