"""Keras callbacks: validation, the rounds of CCP, phases of training, progress and logs."""

from ccp_dml.callbacks.alternating_projections import AlternatingProjections
from ccp_dml.callbacks.embedding_line import EmbeddingLine
from ccp_dml.callbacks.freeze_backbone import FreezeBackbone
from ccp_dml.callbacks.progress_line import ProgressLine
from ccp_dml.callbacks.retrieval_validation import MONITORS, RetrievalValidation
from ccp_dml.callbacks.tensorboard_logs import TensorBoardLogs
from ccp_dml.callbacks.terminate_on_failure import TerminateOnFailure
from ccp_dml.callbacks.variational_phases import VariationalPhases

__all__ = [
    "MONITORS",
    "AlternatingProjections",
    "EmbeddingLine",
    "FreezeBackbone",
    "ProgressLine",
    "RetrievalValidation",
    "TensorBoardLogs",
    "TerminateOnFailure",
    "VariationalPhases",
]
