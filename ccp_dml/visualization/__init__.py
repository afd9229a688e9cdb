"""Figures, logs and progress for people to look at."""

from ccp_dml.visualization.progress import ProgressLine
from ccp_dml.visualization.rounds import RoundSnapshot, draw_rounds
from ccp_dml.visualization.tensorboard import TensorBoardLogs, pair_distances

__all__ = [
    "ProgressLine",
    "RoundSnapshot",
    "TensorBoardLogs",
    "draw_rounds",
    "pair_distances",
]
