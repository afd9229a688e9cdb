"""Optimizers in addition to those of Keras."""

from ccp_dml.optimizers.layerwise_learning_rates import LayerwiseLearningRates
from ccp_dml.optimizers.lazy_adam import LazyAdam
from ccp_dml.optimizers.moving_averages import averaged_weights
from ccp_dml.optimizers.row_updates import check_row_updates, update_rows

__all__ = [
    "LayerwiseLearningRates",
    "LazyAdam",
    "averaged_weights",
    "check_row_updates",
    "update_rows",
]
