"""Training on several devices."""

from ccp_dml.distribution.collectives import gather, num_replicas, sum_over_replicas

__all__ = ["gather", "num_replicas", "sum_over_replicas"]
