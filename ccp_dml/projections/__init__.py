"""Projections: the selection of proxies, and the result of a round."""

from ccp_dml.projections.k_center import greedy_k_center
from ccp_dml.projections.round_end import RoundEnd, RoundSnapshot
from ccp_dml.projections.selection import (
    SELECTIONS,
    select_class_means,
    select_k_centers,
    select_random_samples,
)

__all__ = [
    "SELECTIONS",
    "RoundEnd",
    "RoundSnapshot",
    "greedy_k_center",
    "select_class_means",
    "select_k_centers",
    "select_random_samples",
]
