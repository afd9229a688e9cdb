"""Settings of what is measured, and of the machine."""

import dataclasses

from ccp_dml.distribution.strategy_names import STRATEGIES_OF_BACKENDS
from ccp_dml.evaluation.chosen_metrics import METRICS, choose_metrics
from ccp_dml.experiment.settings.setting import SettingGroup, setting

PRECISIONS = ("float32", "mixed_bfloat16")
# Of all backends, so that results of one can be read with the other.
STRATEGIES = tuple(dict.fromkeys(sum(STRATEGIES_OF_BACKENDS.values(), ())))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasurementSettings(SettingGroup):
    """What is measured and drawn."""

    metrics: tuple[str, ...] = setting(
        (),
        "Metrics in the results besides P@1, R-precision, MAP@R, recall@k and covering radius, a "
        f"comma-separated list of {', '.join(METRICS)}, such as map,mrr,map_at_10,macro_map_at_r,"
        "roc_auc,tar_at_far_0.001.",
    )
    bootstrap_resamples: int = setting(
        0,
        "Number of bootstrap resamples of the queries for 95 % confidence intervals of the "
        "retrieval metrics, such as 1000; 0 for no intervals.",
        least=0,
    )
    clustering: bool = setting(
        False,
        "Whether results also contain NMI, AMI and pairwise F1 of a k-means clustering of the test "
        "samples, which takes a long time for thousands of classes.",
    )
    figure_rounds: int = setting(
        0,
        "Number of rounds of ccp, after the first, to draw in the figure of a 2-d embedding, which "
        "requires another training run; 0 for no figure.",
        least=0,
    )

    def __post_init__(self):
        super().__post_init__()
        choose_metrics(self.metrics)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineSettings(SettingGroup):
    """Settings of the hardware and of how it is used."""

    jit_compile: bool = setting(
        False, "Whether training steps are compiled with XLA; those of JAX always are."
    )
    strategy: str = setting(
        "none",
        "Devices to distribute training over. none: one device. mirrored, with TensorFlow: all "
        "GPUs of this machine, or the share of each of --processes. multi_worker, with TensorFlow: "
        "those of several machines, listed in TF_CONFIG. data_parallel, with JAX: all devices. "
        "model_parallel, with JAX: all devices, groups of which share the proxies and the memory. "
        "A batch is that of all devices together, and results are the same up to rounding.",
        choices=STRATEGIES,
    )
    model_devices: int = setting(
        1,
        "For --strategy=model_parallel: devices that share the proxies, their moments and the "
        "memory, for classes that one device cannot hold; a divisor of the number of devices.",
        least=1,
    )
    precision: str = setting(
        "float32",
        "Data type in which the network computes during training; weights, losses and proxies, and "
        "the network that is measured and saved, are always float32.",
        choices=PRECISIONS,
    )
    steps_per_execution: int = setting(
        1,
        "Number of steps per call from Python, a divisor of steps_per_validation; small networks "
        "train faster with 10. Must be 1 with several devices.",
        least=1,
    )
