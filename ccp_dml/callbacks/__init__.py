"""Keras callbacks: validation, the rounds of CCP, phases of training, progress, logs and state."""

from ccp_dml.callbacks.alternating_projections import AlternatingProjections
from ccp_dml.callbacks.embedding_line import EmbeddingLine
from ccp_dml.callbacks.freeze_backbone import FreezeBackbone
from ccp_dml.callbacks.hard_classes import HardClasses
from ccp_dml.callbacks.history_log import HistoryLog
from ccp_dml.callbacks.learning_rate_log import LearningRateLog
from ccp_dml.callbacks.progress_line import ProgressLine
from ccp_dml.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from ccp_dml.callbacks.resumable_callback import ResumableCallback
from ccp_dml.callbacks.retrieval_validation import MONITORS, RetrievalValidation
from ccp_dml.callbacks.round_snapshots import RoundSnapshots
from ccp_dml.callbacks.shrinkage_warning import ShrinkageWarning
from ccp_dml.callbacks.tensorboard_logs import TensorBoardLogs
from ccp_dml.callbacks.terminate_on_failure import TerminateOnFailure
from ccp_dml.callbacks.training_state import TrainingInterruptedError, TrainingState
from ccp_dml.callbacks.variational_phases import VariationalPhases

__all__ = [
    "MONITORS",
    "AlternatingProjections",
    "EmbeddingLine",
    "FreezeBackbone",
    "HardClasses",
    "HistoryLog",
    "LearningRateLog",
    "ProgressLine",
    "ReduceLROnPlateau",
    "ResumableCallback",
    "RetrievalValidation",
    "RoundSnapshots",
    "ShrinkageWarning",
    "TensorBoardLogs",
    "TerminateOnFailure",
    "TrainingInterruptedError",
    "TrainingState",
    "VariationalPhases",
]
