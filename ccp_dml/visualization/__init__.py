"""Figures, logs and progress for people to look at."""

from ccp_dml.visualization.contact_sheet import draw_samples
from ccp_dml.visualization.progress import EmbeddingLine, ProgressLine
from ccp_dml.visualization.rounds import RoundSnapshot, draw_rounds
from ccp_dml.visualization.tensorboard import TensorBoardLogs, pair_distances

__all__ = [
    "EmbeddingLine",
    "ProgressLine",
    "RoundSnapshot",
    "TensorBoardLogs",
    "draw_rounds",
    "draw_samples",
    "pair_distances",
]
