"""Experiments: from settings to trained networks, their results and tables."""

from ccp_dml.experiment.resumable_training import TrainingFailedError
from ccp_dml.experiment.run import Run
from ccp_dml.experiment.settings import METHODS, Settings
from ccp_dml.experiment.training import train, validate
from ccp_dml.experiment.training_data import TrainingData, load_benchmark, split_benchmark

__all__ = [
    "METHODS",
    "Run",
    "Settings",
    "TrainingData",
    "TrainingFailedError",
    "load_benchmark",
    "split_benchmark",
    "train",
    "validate",
]
