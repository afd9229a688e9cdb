"""Training on several devices."""

from ccp_dml.distribution.collectives import gather, num_replicas, sum_over_replicas
from ccp_dml.distribution.strategies import STRATEGIES, strategy

__all__ = ["STRATEGIES", "gather", "num_replicas", "strategy", "sum_over_replicas"]
