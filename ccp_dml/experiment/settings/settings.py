"""The settings of an experiment, with their defaults, units and bounds."""

import dataclasses

from ccp_dml.experiment.settings.data import DataSettings, ImageSettings
from ccp_dml.experiment.settings.measurement import MachineSettings, MeasurementSettings
from ccp_dml.experiment.settings.method import (
    MemorySettings,
    MethodSettings,
    ProxySettings,
    VariationalSettings,
)
from ccp_dml.experiment.settings.training import (
    BatchSettings,
    NetworkSettings,
    OptimizerSettings,
)

# Settings that affect the speed and, by rounding, the results, but nothing else.
_MACHINE_SETTINGS = ("cache", "strategy", "model_devices", "steps_per_execution")


# A dataclass has the fields of its last base first.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(
    MachineSettings,
    MeasurementSettings,
    VariationalSettings,
    MemorySettings,
    ProxySettings,
    OptimizerSettings,
    BatchSettings,
    NetworkSettings,
    MethodSettings,
    ImageSettings,
    DataSettings,
):
    """The settings of an experiment.

    The defaults of batches, proxies, rounds and the optimizer are those of the CCP paper for CUB.

    Raises:
        ValueError: If a value is out of its bounds; the message names the setting, the value and
            what is allowed.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.steps_per_validation % self.steps_per_execution:
            raise ValueError(
                f"steps_per_execution must divide steps_per_validation, "
                f"{self.steps_per_validation}; got {self.steps_per_execution}"
            )
        if self.learning_rate_warmup_steps >= self.max_steps:
            raise ValueError(
                f"learning_rate_warmup_steps must be below max_steps, {self.max_steps}; got "
                f"{self.learning_rate_warmup_steps}"
            )
        if self.sampled_classes and (self.optimizer != "adam" or self.ema_momentum):
            raise ValueError(
                "sampled_classes updates only the proxies that were drawn, which requires "
                f"optimizer adam and ema_momentum 0; got {self.optimizer} and {self.ema_momentum}"
            )

    def same_results(self, other: "Settings") -> bool:
        """Returns whether other settings lead to the same results, up to rounding."""
        return self.without_machine() == other.without_machine()

    def without_machine(self) -> "Settings":
        """Returns the settings that determine results, with defaults for those of the machine."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: defaults[name] for name in _MACHINE_SETTINGS})
