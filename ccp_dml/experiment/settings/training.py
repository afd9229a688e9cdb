"""Settings of the network and of how it is trained."""

import dataclasses
from collections.abc import Mapping

from ccp_dml.callbacks import MONITORS
from ccp_dml.data import SAMPLERS, sampler_parameters
from ccp_dml.experiment.settings.setting import (
    LARGEST_COUNT,
    SettingGroup,
    check_numbers,
    check_params,
    check_value,
    params,
    setting,
)
from ccp_dml.layers import POOLINGS

# Parameters of the callback that tells the sampler which classes are near: how many count as near,
# how many samples of a class its centre is the mean of, and after how many validations it is
# recomputed.
HARD_CLASS_PARAMETERS = ["nearest", "center_samples", "validations"]
"""Parameters of the sampler `hard_classes` that its callback takes."""
VALIDATIONS = ("auto", "classes", "samples", "test")
OPTIMIZERS = ("adam", "adamw")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(SettingGroup):
    """The network and its initial weights."""

    backbone: str = setting(
        "small_convnet",
        "Network before the embedding layer: small_convnet; bn_inception, as in the paper; "
        "resnet50_v1_5 or vit_b16, for weights of timm; resnet50 or any other network of "
        "keras.applications, by the same name; hub:preset, a preset of KerasHub with its weights, "
        "a name such as hub:dinov2_base or a folder; or module:callable, your own function, which "
        "takes the shape of the images and returns a keras.Model.",
    )
    weights: str = setting(
        "none",
        "Initial weights of the backbone. none: random, or for hub:preset those of the preset. "
        "imagenet: for bn_inception and the networks of keras.applications. glyphs: for "
        "small_convnet and grey images. Or the path of a .weights.h5 file or, for bn_inception, "
        "resnet50_v1_5 and vit_b16, of a .pth file.",
    )
    freeze_batch_norm: bool = setting(
        True,
        "Whether to freeze the moving statistics, scale and offset of batch normalisation, and to "
        "switch off dropout and stochastic depth of the backbone.",
    )
    embedding_size: int = setting(128, "Size of the embeddings.", least=1)
    pooling: str = setting(
        "average",
        "How the features of the backbone are turned into a vector. For a feature map or the "
        "tokens of a transformer: the average, the maximum, the sum of both, the generalised mean "
        "with a trainable exponent (gem), or generalised sum pooling (gsp). For tokens: the first, "
        "the class token (token). For vectors: none.",
        choices=POOLINGS,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSettings(SettingGroup):
    """The contents of a batch, and how training is validated and ends."""

    classes_per_batch: int = setting(8, "Number of classes in a batch.", least=1)
    samples_per_class: int = setting(
        4, "Number of samples of each class in a batch.", least=1, most=LARGEST_COUNT
    )
    gradient_cache_parts: int = setting(
        1,
        "Number of parts of a batch that the network processes one after the other, for batches "
        "that do not fit into memory; the loss sees the whole batch, and the gradients are the "
        "same. Each step takes up to 1.5 times as long. Must divide the number of samples of a "
        "batch, or of each device's share.",
        least=1,
    )
    sampler: str = setting(
        "balanced",
        "How the classes of a batch are chosen. balanced: all equally often. proportional: in "
        "proportion to their size. hierarchical: from a few super-classes, which are the folders "
        "above the folders of the classes' images, as in SOP. hard_classes: a fraction of them "
        "near the others.",
        choices=tuple(SAMPLERS),
    )
    sampler_params: Mapping[str, float] = params("the sampler", "super_classes_per_batch=2")
    max_steps: int = setting(
        25_000,
        "Largest number of training steps of a method, rounded up to whole validations.",
        least=1,
    )
    steps_per_validation: int = setting(25, "Number of steps between two validations.", least=1)
    patience: int = setting(
        60, "Number of validations without improvement after which training ends.", least=1
    )
    monitor: str = setting(
        "map_at_r",
        "Metric by which validation decides when training ends, when a round of ccp ends, and when "
        "the learning rate is lowered.",
        choices=MONITORS,
    )
    validation: str = setting(
        "auto",
        "What to validate on. auto: the val split of the data set or, if it has none, as for "
        "classes. classes: some of the training classes, in folds. samples: held-out samples of "
        "all training classes. test: the test classes, as in older papers, which makes results on "
        "them optimistic. A data set with a val split requires auto.",
        choices=VALIDATIONS,
    )
    num_folds: int = setting(
        4,
        "Number of contiguous parts of the training classes, for validation=classes; 4 for the "
        "four models of the MLRC protocol, 3 for the paper's ablations, which train on 2/3 and "
        "validate on 1/3.",
        least=2,
    )
    fold: int = setting(
        1,
        "The fold to train, from 1; fold k validates on part num_folds + 1 - k of the classes.",
        least=1,
    )
    validation_fraction: float = setting(
        0.2,
        "Fraction of each class to hold out, between 0 and 1, for validation=samples.",
        above=0,
        below=1,
    )

    def __post_init__(self):
        super().__post_init__()
        batch_size = self.classes_per_batch * self.samples_per_class
        if batch_size % self.gradient_cache_parts:
            raise ValueError(
                f"gradient_cache_parts must divide the {batch_size} samples of a batch; got "
                f"{self.gradient_cache_parts}"
            )
        known = sampler_parameters(self.sampler)
        if self.sampler == "hard_classes":
            known += HARD_CLASS_PARAMETERS
        check_params(f"sampler {self.sampler}", self.sampler_params, known)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings(SettingGroup):
    """The optimizer and the learning rates."""

    optimizer: str = setting(
        "adam",
        "Optimizer: adam, which adds weight_decay to the gradients; or adamw, with decoupled "
        "weight_decay, which exempts biases and normalisation.",
        choices=OPTIMIZERS,
    )
    learning_rate: float = setting(
        1e-5, "Learning rate of the optimizer; with a schedule, the highest.", above=0
    )
    learning_rate_schedule: str = setting(
        "constant",
        "Course of the learning rate: constant; or cosine, down to 0 at max_steps.",
        choices=LEARNING_RATE_SCHEDULES,
    )
    learning_rate_warmup_steps: int = setting(
        0,
        "Number of steps over which the learning rate grows from 0, before its schedule; not to be "
        "confused with warmup_steps, which concerns the loss of ccp.",
        least=0,
    )
    beta_2: float = setting(
        0.999, "Decay rate of the optimizer's second moment, per step.", least=0, below=1
    )
    ema_momentum: float = setting(
        0.0,
        "Momentum, per step, of an exponential moving average of the weights, such as 0.999, which "
        "is then validated and saved; 0 for none.",
        least=0,
        below=1,
    )
    weight_decay: float = setting(
        1e-4,
        "For adam, L2 regularisation: weight_decay * weight is added to the gradients. For adamw, "
        "decoupled: each step subtracts learning_rate * weight_decay * weight.",
        least=0,
    )
    clip_norm: float = setting(10.0, "Largest global norm of the gradients.", above=0)
    clip_value: float = setting(10.0, "Largest absolute value of a gradient.", above=0)
    learning_rate_multipliers: Mapping[str, float] = dataclasses.field(
        default_factory=dict,
        metadata={
            "help": "Factors of the learning rate for the weights of some layers, such as "
            "proxies=100,backbone/*block_1_*=0, by parts of their paths with * as a wildcard; "
            "paths in the backbone begin with backbone. 0 freezes weights."
        },
    )
    layer_decay: float = setting(
        1.0,
        "Factor of the learning rate from each numbered block of the backbone to the one before "
        "it, such as 0.75 for transformers; 1 for none.",
        above=0,
    )
    plateau_patience: int = setting(
        0,
        "Number of validations without improvement after which the learning rate is multiplied by "
        "plateau_factor; 0 for never.",
        least=0,
    )
    plateau_factor: float = setting(
        0.5, "Factor of the learning rate on a plateau.", above=0, below=1
    )
    plateau_min_delta: float = setting(
        1e-3, "Smallest improvement of the monitor that ends a plateau.", least=0
    )
    plateau_cooldown: int = setting(
        2,
        "Number of validations to wait, after the learning rate was lowered, before the next "
        "plateau can begin; as in Keras, the last of them already counts.",
        least=0,
    )
    min_learning_rate: float = setting(
        1e-6, "Lower bound of the learning rate on plateaus.", least=0
    )
    freeze_backbone_epochs: int = setting(
        0,
        "Number of passes over the training samples, rounded up to whole validations, during which "
        "the backbone is frozen while the embedding layer and the proxies learn.",
        least=0,
    )
    warmup_steps: int = setting(
        0,
        "Number of steps that ccp trains on the batch loss alone before its first round, rounded "
        "up to whole validations; networks trained from scratch need some.",
        least=0,
    )

    def __post_init__(self):
        super().__post_init__()
        is_scheduled = self.learning_rate_schedule != "constant" or self.learning_rate_warmup_steps
        if is_scheduled and self.plateau_patience:
            raise ValueError(
                "plateau_patience lowers a learning rate that has no schedule: it must be 0 with "
                f"learning_rate_schedule={self.learning_rate_schedule} and "
                f"learning_rate_warmup_steps={self.learning_rate_warmup_steps}; got "
                f"{self.plateau_patience}"
            )
        check_numbers("learning_rate_multipliers", self.learning_rate_multipliers)
        for part, factor in self.learning_rate_multipliers.items():
            check_value(f"learning_rate_multipliers of {part}", factor, {"least": 0})
