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

# Of the callback that tells the sampler which classes are near: how many count as near, of how many
# samples of a class its centre is the mean, and after how many validations it is computed again.
HARD_CLASS_PARAMETERS = ["nearest", "center_samples", "validations"]
"""Parameters of the sampler `hard_classes` that its callback takes."""
VALIDATIONS = ("auto", "classes", "samples", "test")
OPTIMIZERS = ("adam", "adamw")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(SettingGroup):
    """The network, and what it starts from."""

    backbone: str = setting(
        "small_convnet",
        "Network below the embedding: small_convnet; bn_inception, the paper's; resnet50_v1_5 or "
        "vit_b16, for weights of timm; resnet50 or any other of keras.applications, spelt as "
        "there; hub:preset, a preset of KerasHub with its weights, by name, such as "
        "hub:dinov2_base, or a folder; or module:callable, a function of your own that takes the "
        "shape of the images and returns a keras.Model.",
    )
    weights: str = setting(
        "none",
        "What the backbone starts from: none, random weights or those of a preset; imagenet, for "
        "bn_inception and the networks of keras.applications; glyphs, for small_convnet and grey "
        "images; or the path of a .weights.h5 file or, for bn_inception, resnet50_v1_5 and "
        "vit_b16, of a .pth file.",
    )
    freeze_batch_norm: bool = setting(
        True,
        "Whether batch normalisation keeps its moving statistics, scale and offset, and dropout "
        "and stochastic depth of the backbone are off.",
    )
    embedding_size: int = setting(128, "Size of the embeddings.", least=1)
    pooling: str = setting(
        "average",
        "From what the backbone gives to a vector. Of a feature map or of the tokens of a "
        "transformer: the average, the maximum, the sum of both, the generalised mean with a "
        "trainable exponent (gem), or generalised sum pooling (gsp). Of tokens: the first, the "
        "class token (token). For a backbone that gives vectors: none.",
        choices=POOLINGS,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSettings(SettingGroup):
    """What a batch holds, and how training is validated and ends."""

    classes_per_batch: int = setting(8, "Classes in a batch.", least=1)
    samples_per_class: int = setting(
        4, "Samples of each class of a batch.", least=1, most=LARGEST_COUNT
    )
    gradient_cache_parts: int = setting(
        1,
        "Parts of a batch that the network sees one after the other, for batches that do not fit "
        "into the memory; the loss sees the whole batch, and the gradients are the same. Each step "
        "takes up to half as long again. A divisor of the samples of a batch, or of each device's.",
        least=1,
    )
    sampler: str = setting(
        "balanced",
        "Which classes a batch holds: all equally often; in proportion to their size; or those of "
        "a few super-classes, which are the folders above the folders of the classes' images, as "
        "in SOP; or (hard_classes) a fraction of classes that are near to the others.",
        choices=tuple(SAMPLERS),
    )
    sampler_params: Mapping[str, float] = params("the sampler", "super_classes_per_batch=2")
    max_steps: int = setting(
        25_000, "Longest training of a method, in steps, rounded up to whole validations.", least=1
    )
    steps_per_validation: int = setting(25, "Steps between two validations.", least=1)
    patience: int = setting(
        60, "Validations without improvement after which training ends.", least=1
    )
    monitor: str = setting(
        "map_at_r",
        "What validation measures improvement by: of training, of a round of ccp, and for the "
        "learning rate.",
        choices=MONITORS,
    )
    validation: str = setting(
        "auto",
        "What validates: the split val of the data set or, if it has none, as classes; some of the "
        "training classes, in folds; held-out samples of all of them; or, as older papers do, the "
        "test classes, which makes results on them optimistic. A data set with a split val takes "
        "auto only.",
        choices=VALIDATIONS,
    )
    num_folds: int = setting(
        4,
        "Contiguous parts of the training classes, if classes validate; 4 for the four models of "
        "the MLRC protocol, 3 for the paper's ablations, which train on 2/3 and validate on 1/3.",
        least=2,
    )
    fold: int = setting(
        1,
        "The fold to train, from 1; fold k validates on part num_folds + 1 - k of the classes.",
        least=1,
    )
    validation_fraction: float = setting(
        0.2, "Part of each class held out, between 0 and 1, if samples validate.", above=0, below=1
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
        "Optimizer: adam, with weight_decay in the gradients; or adamw, whose weight_decay is "
        "apart from them and leaves out biases and normalisation.",
        choices=OPTIMIZERS,
    )
    learning_rate: float = setting(
        1e-5, "Learning rate of the optimizer, per step, or the highest one.", above=0
    )
    learning_rate_schedule: str = setting(
        "constant",
        "How the learning rate goes on: constant; or cosine, down to 0 at max_steps.",
        choices=LEARNING_RATE_SCHEDULES,
    )
    learning_rate_warmup_steps: int = setting(
        0,
        "Steps in which the learning rate grows from 0, before its schedule; not to be taken for "
        "warmup_steps, which is about the loss of ccp.",
        least=0,
    )
    beta_2: float = setting(
        0.999, "The optimizer's decay of the second moment, per step.", least=0, below=1
    )
    ema_momentum: float = setting(
        0.0,
        "Momentum, per step, of an exponential moving average of the weights, which is then "
        "validated and saved, such as 0.999; 0 for none.",
        least=0,
        below=1,
    )
    weight_decay: float = setting(
        1e-4,
        "For adam, L2 regularisation, added to the gradients as weight_decay * weight; for adamw, "
        "the part of a weight that a step takes away, times the learning rate.",
        least=0,
    )
    clip_norm: float = setting(10.0, "Largest global norm of the gradients.", above=0)
    clip_value: float = setting(10.0, "Largest absolute value of a gradient.", above=0)
    learning_rate_multipliers: Mapping[str, float] = dataclasses.field(
        default_factory=dict,
        metadata={
            "help": "Factors of the learning rate for the weights of some layers, such as "
            "proxies=100,backbone/*block_1_*=0, by parts of their paths with * for anything; those "
            "of the backbone begin with backbone. 0 freezes them."
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
        "Validations without improvement after which the learning rate is multiplied by "
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
        "Validations to wait, after the learning rate was lowered, before the next plateau can "
        "begin; as in Keras, the last of them counts already.",
        least=0,
    )
    min_learning_rate: float = setting(
        1e-6, "Lower bound of the learning rate on plateaus.", least=0
    )
    freeze_backbone_epochs: int = setting(
        0,
        "Passes over the training samples, rounded up to whole validations, during which the "
        "backbone is frozen while the embedding layer and the proxies learn.",
        least=0,
    )
    warmup_steps: int = setting(
        0,
        "Steps that ccp trains on the batch loss alone before its first round, rounded up to whole "
        "validations; networks trained from scratch need some.",
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
