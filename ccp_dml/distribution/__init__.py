"""Training on several devices."""

from ccp_dml.distribution.batch_map import BatchMap
from ccp_dml.distribution.collectives import (
    apply_to_share,
    gather,
    num_replicas,
    sum_over_replicas,
)
from ccp_dml.distribution.copies import update_copies
from ccp_dml.distribution.messages import from_chief
from ccp_dml.distribution.precision import precision_scope
from ccp_dml.distribution.strategies import STRATEGIES, strategy
from ccp_dml.distribution.workers import is_chief, num_workers, sum_over_workers, wait_for_all

__all__ = [
    "STRATEGIES",
    "BatchMap",
    "apply_to_share",
    "from_chief",
    "gather",
    "is_chief",
    "num_replicas",
    "num_workers",
    "precision_scope",
    "strategy",
    "sum_over_replicas",
    "sum_over_workers",
    "update_copies",
    "wait_for_all",
]
