"""Projections: greedy k-centre, and the result of a round."""

from ccp_dml.projections.k_center import greedy_k_center
from ccp_dml.projections.round_end import RoundEnd

__all__ = ["RoundEnd", "greedy_k_center"]
