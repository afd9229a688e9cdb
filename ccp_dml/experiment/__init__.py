"""Experiments: from settings to trained networks, their results and tables."""

from ccp_dml.experiment.run import Experiment, TrainingFailedError, load_benchmark, table
from ccp_dml.experiment.settings import METHODS, Settings

__all__ = ["METHODS", "Experiment", "Settings", "TrainingFailedError", "load_benchmark", "table"]
