"""Settings of an experiment, in groups."""

from ccp_dml.experiment.settings.data import DataSettings, ImageSettings
from ccp_dml.experiment.settings.measurement import MachineSettings, MeasurementSettings
from ccp_dml.experiment.settings.method import (
    METHODS,
    MemorySettings,
    MethodSettings,
    ProxySettings,
    VariationalSettings,
)
from ccp_dml.experiment.settings.settings import Settings
from ccp_dml.experiment.settings.training import (
    HARD_CLASS_PARAMETERS,
    BatchSettings,
    NetworkSettings,
    OptimizerSettings,
)

__all__ = [
    "HARD_CLASS_PARAMETERS",
    "METHODS",
    "SETTING_GROUPS",
    "Settings",
]

SETTING_GROUPS = {
    "Data": DataSettings,
    "Images in files": ImageSettings,
    "Method and loss": MethodSettings,
    "Network": NetworkSettings,
    "Batches and validation": BatchSettings,
    "Optimizer": OptimizerSettings,
    "Proxies and rounds (ccp)": ProxySettings,
    "Cross-batch memory (xbm)": MemorySettings,
    "Variational metric learning (dvml)": VariationalSettings,
    "Measurement and figures": MeasurementSettings,
    "Machine": MachineSettings,
}
"""Groups of settings by their titles, in the order of the help."""
