"""Projections: greedy k-centre, and the callback that ends a round."""

from ccp_dml.projections.k_center import greedy_k_center
from ccp_dml.projections.rounds import AlternatingProjections, RoundEnd

__all__ = ["AlternatingProjections", "RoundEnd", "greedy_k_center"]
