"""The settings of an experiment, with their defaults, units and bounds."""

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

from ccp_dml import losses, miners
from ccp_dml.callbacks import MONITORS
from ccp_dml.checks import (
    check_above,
    check_at_least,
    check_at_most,
    check_below,
    check_finite,
    check_one_of,
    check_parameters,
)
from ccp_dml.data import (
    CACHES,
    COLOR_JITTER_PARAMETERS,
    CROPS,
    DATASETS,
    FITS,
    SAMPLERS,
    SCALINGS,
    dataset_parameters,
    sampler_parameters,
)
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.data.preprocessing import check_crop_area, parse_color
from ccp_dml.distribution.strategy_names import STRATEGIES_OF_BACKENDS
from ccp_dml.evaluation.chosen_metrics import METRICS, choose_metrics
from ccp_dml.layers import POOLINGS
from ccp_dml.losses import LOSSES, WRAPPERS
from ccp_dml.miners import MINERS

METHODS = ("plain", "ccp", "xbm", "dvml", "ccp+xbm", "ccp+dvml", "xbm+dvml", "ccp+xbm+dvml")
# Of the callback that tells the sampler which classes are near: how many count as near, of how many
# samples of a class its centre is the mean, and after how many validations it is computed again.
HARD_CLASS_PARAMETERS = ["nearest", "center_samples", "validations"]
# Far more than is of use, and few enough for the memory.
_LARGEST_COUNT = 65_536
VALIDATIONS = ("auto", "classes", "samples", "test")
OPTIMIZERS = ("adam", "adamw")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16")
# Settings that change how fast the numbers come, and by rounding how they end, but no more.
_OF_THE_MACHINE = ("cache", "strategy", "model_devices", "steps_per_execution")
# Of all backends, so that results of each can be read with the other.
_STRATEGIES = tuple(dict.fromkeys(sum(STRATEGIES_OF_BACKENDS.values(), ())))


def _setting(default: Any, help: str, **bounds: Any) -> Any:
    """A field with a help text and, optionally, `choices`, `least`, `above`, `most`, `below`.

    They hold for each item of a tuple, which may also have a `length`.
    """
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


def _params(owner: str, example: str, words: bool = False) -> Any:
    """A field for the numbers, and words where they are allowed, that something named takes."""
    help_text = f"Parameters of {owner} that differ from its defaults, such as {example}."
    return dataclasses.field(default_factory=dict, metadata={"help": help_text, "words": words})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What defines an experiment; the defaults are the CCP paper's for CUB.

    Raises:
        ValueError: If a value is out of its bounds; the message names the setting, the value and
            what is allowed.
    """

    dataset: str = _setting("digits", "Data set.", choices=DATASETS)
    dataset_params: Mapping[str, float] = _params(
        "the data set", "train_letters=100,samples_per_letter=10"
    )
    data_dir: str = _setting(
        "",
        "Folder of the data set, or its URL, such as gs://bucket/data; for the data set folder "
        "also a CSV file with the columns path, label and, optionally, split.",
    )
    max_bad_images: int = _setting(
        0,
        "Damaged or non-image files that the data set folder may hold; they are skipped.",
        least=0,
    )
    cache: str = _setting(
        "none",
        "What is kept of images in files: nothing; in memory, the encoded files that are trained "
        "on and the cropped images that are evaluated; on disk, the cropped images and copies of "
        "remote files.",
        choices=CACHES,
    )
    image_size: int = _setting(227, "Height and width of inputs made of files, in pixels.", least=1)
    resize_size: int = _setting(
        0,
        "What the shorter side is resized to for evaluation, before image_size is cut out of the "
        "centre; 0 for 256 / 227 of image_size.",
        least=0,
    )
    crop: str = _setting(
        "area",
        "Random crop of images in files: a box of 16-100% of the area and an aspect ratio of "
        "0.75-1.33, or a square of side 40-256 when the shorter side is 256.",
        choices=CROPS,
    )
    crop_area: tuple[float, ...] = _setting(
        (0.16, 1.0),
        "For crop=area: bounds of the part of the area, above 0 up to 1.",
        above=0,
        most=1,
        length=2,
    )
    fit: str = _setting(
        "crop",
        "How pictures in files that are not square are taken: training crops boxes of them and "
        "evaluation the centre; or they are padded to squares with the background, which training "
        "crops and evaluation sees whole.",
        choices=FITS,
    )
    background: str = _setting(
        "white",
        "Colour behind transparent pixels of images in files, and of the padding: a name that HTML "
        "knows, or #rrggbb.",
    )
    flip: bool = _setting(
        True,
        "Whether training mirrors every other image in files; digits and glyphs are never "
        "mirrored. Off where mirror images belong to other classes.",
    )
    max_pixels: int = _setting(
        MAX_PIXELS,
        "The most pixels, width times height, of an image in a data set folder; one that has more "
        "is not decoded and counts among max_bad_images.",
        least=1,
    )
    color_jitter: Mapping[str, float] = dataclasses.field(
        default_factory=dict,
        metadata={
            "help": "Random changes of the colours of training images in files, such as "
            "brightness=0.4,contrast=0.4,saturation=0.4,hue=0.1; none by default."
        },
    )
    rand_augment: int = _setting(
        0, "Operations of RandAugment for each training image in files; 0 for none.", least=0
    )
    rand_augment_magnitude: float = _setting(
        0.5, "Strength of the operations of RandAugment.", above=0, most=1
    )
    random_erasing: float = _setting(
        0.0,
        "Probability that a box of a training image in files is filled with noise.",
        least=0,
        most=1,
    )
    augmentation: str = _setting(
        "",
        "module:name of your own augmentation of training images in files: a function of an image, "
        "float32 (image_size, image_size, 3) in 0...255, and a seed, or a keras.Layer; see "
        "ccp_dml.data.load_augmentation.",
    )
    scaling: str = _setting(
        "auto",
        "Values of images in files: what the backbone expects, which is 0...1 (unit) for functions "
        "of your own; 0...1; -1...1; 0...255; with ImageNet's mean subtracted, and divided by its "
        "standard deviation; or blue, green and red with ImageNet's mean subtracted.",
        choices=("auto", *SCALINGS),
    )
    method: tuple[str, ...] = _setting(
        ("plain", "ccp"),
        "How the loss is used, a comma-separated list: plain, among the samples of a batch or, for "
        "a loss of proxies, against proxies that start at random; ccp, in rounds against proxies; "
        "xbm, also against a cross-batch memory; dvml, with intra-class variance modelled apart; "
        "or several at a time. Every method starts from the same weights.",
        choices=METHODS,
    )
    loss: str = _setting(
        "contrastive",
        f"Loss: one of {', '.join(LOSSES)}; or module:Class, your own ccp_dml.losses.PairwiseLoss, "
        "or a function that returns one.",
    )
    loss_params: Mapping[str, float | str] = _params(
        "the loss", "negative_margin=0.5409,distance=cosine,reduction=mean", words=True
    )
    loss_wrapper: str = _setting(
        "none",
        "What is added around the loss: multi-level distance regularisation, or synthetic classes.",
        choices=("none", *WRAPPERS),
    )
    loss_wrapper_params: Mapping[str, float] = _params("loss_wrapper", "weight=0.2")
    miner: str = _setting("none", "Which pairs the loss takes.", choices=("none", *MINERS))
    miner_params: Mapping[str, float] = _params("the miner", "margin=0.2")
    seed: int = _setting(
        0, "Fixes initialisation, sampling, augmentation and pools.", least=0, most=2**32 - 1
    )

    backbone: str = _setting(
        "small_convnet",
        "Network below the embedding: small_convnet; bn_inception, the paper's; resnet50_v1_5 or "
        "vit_b16, for weights of timm; resnet50 or any other of keras.applications, spelt as "
        "there; hub:preset, a preset of KerasHub with its weights, by name, such as "
        "hub:dinov2_base, or a folder; or module:callable, a function of your own that takes the "
        "shape of the images and returns a keras.Model.",
    )
    weights: str = _setting(
        "none",
        "What the backbone starts from: none, random weights or those of a preset; imagenet, for "
        "bn_inception and the networks of keras.applications; glyphs, for small_convnet and grey "
        "images; or the path of a .weights.h5 file or, for bn_inception, resnet50_v1_5 and "
        "vit_b16, of a .pth file.",
    )
    freeze_batch_norm: bool = _setting(
        True,
        "Whether batch normalisation keeps its moving statistics, scale and offset, and dropout "
        "and stochastic depth of the backbone are off.",
    )
    embedding_size: int = _setting(128, "Size of the embeddings.", least=1)
    pooling: str = _setting(
        "average",
        "From what the backbone gives to a vector. Of a feature map or of the tokens of a "
        "transformer: the average, the maximum, the sum of both, the generalised mean with a "
        "trainable exponent (gem), or generalised sum pooling (gsp). Of tokens: the first, the "
        "class token (token). For a backbone that gives vectors: none.",
        choices=POOLINGS,
    )

    classes_per_batch: int = _setting(8, "Classes in a batch.", least=1)
    samples_per_class: int = _setting(
        4, "Samples of each class of a batch.", least=1, most=_LARGEST_COUNT
    )
    gradient_cache_parts: int = _setting(
        1,
        "Parts of a batch that the network sees one after the other, for batches that do not fit "
        "into the memory; the loss sees the whole batch, and the gradients are the same. Each step "
        "takes up to half as long again. A divisor of the samples of a batch, or of each device's.",
        least=1,
    )
    sampler: str = _setting(
        "balanced",
        "Which classes a batch holds: all equally often; in proportion to their size; or those of "
        "a few super-classes, which are the folders above the folders of the classes' images, as "
        "in SOP; or (hard_classes) a fraction of classes that are near to the others.",
        choices=tuple(SAMPLERS),
    )
    sampler_params: Mapping[str, float] = _params("the sampler", "super_classes_per_batch=2")
    max_steps: int = _setting(
        25_000, "Longest training of a method, in steps, rounded up to whole validations.", least=1
    )
    steps_per_validation: int = _setting(25, "Steps between two validations.", least=1)
    patience: int = _setting(
        60, "Validations without improvement after which training ends.", least=1
    )
    monitor: str = _setting(
        "map_at_r",
        "What validation measures improvement by: of training, of a round of ccp, and for the "
        "learning rate.",
        choices=MONITORS,
    )
    validation: str = _setting(
        "auto",
        "What validates: the split val of the data set or, if it has none, as classes; some of the "
        "training classes, in folds; held-out samples of all of them; or, as older papers do, the "
        "test classes, which makes results on them optimistic. A data set with a split val takes "
        "auto only.",
        choices=VALIDATIONS,
    )
    num_folds: int = _setting(
        4,
        "Contiguous parts of the training classes, if classes validate; 4 for the four models of "
        "the MLRC protocol, 3 for the paper's ablations, which train on 2/3 and validate on 1/3.",
        least=2,
    )
    fold: int = _setting(
        1,
        "The fold to train, from 1; fold k validates on part num_folds + 1 - k of the classes.",
        least=1,
    )
    validation_fraction: float = _setting(
        0.2, "Part of each class held out, between 0 and 1, if samples validate.", above=0, below=1
    )

    optimizer: str = _setting(
        "adam",
        "Optimizer: adam, with weight_decay in the gradients; or adamw, whose weight_decay is "
        "apart from them and leaves out biases and normalisation.",
        choices=OPTIMIZERS,
    )
    learning_rate: float = _setting(
        1e-5, "Learning rate of the optimizer, per step, or the highest one.", above=0
    )
    learning_rate_schedule: str = _setting(
        "constant",
        "How the learning rate goes on: constant; or cosine, down to 0 at max_steps.",
        choices=LEARNING_RATE_SCHEDULES,
    )
    learning_rate_warmup_steps: int = _setting(
        0,
        "Steps in which the learning rate grows from 0, before its schedule; not to be taken for "
        "warmup_steps, which is about the loss of ccp.",
        least=0,
    )
    beta_2: float = _setting(
        0.999, "The optimizer's decay of the second moment, per step.", least=0, below=1
    )
    ema_momentum: float = _setting(
        0.0,
        "Momentum, per step, of an exponential moving average of the weights, which is then "
        "validated and saved, such as 0.999; 0 for none.",
        least=0,
        below=1,
    )
    weight_decay: float = _setting(
        1e-4,
        "For adam, L2 regularisation, added to the gradients as weight_decay * weight; for adamw, "
        "the part of a weight that a step takes away, times the learning rate.",
        least=0,
    )
    clip_norm: float = _setting(10.0, "Largest global norm of the gradients.", above=0)
    clip_value: float = _setting(10.0, "Largest absolute value of a gradient.", above=0)
    learning_rate_multipliers: Mapping[str, float] = dataclasses.field(
        default_factory=dict,
        metadata={
            "help": "Factors of the learning rate for the weights of some layers, such as "
            "proxies=100,backbone/*block_1_*=0, by parts of their paths with * for anything; those "
            "of the backbone begin with backbone. 0 freezes them."
        },
    )
    layer_decay: float = _setting(
        1.0,
        "Factor of the learning rate from each numbered block of the backbone to the one before "
        "it, such as 0.75 for transformers; 1 for none.",
        above=0,
    )
    plateau_patience: int = _setting(
        0,
        "Validations without improvement after which the learning rate is multiplied by "
        "plateau_factor; 0 for never.",
        least=0,
    )
    plateau_factor: float = _setting(
        0.5, "Factor of the learning rate on a plateau.", above=0, below=1
    )
    plateau_min_delta: float = _setting(
        1e-3, "Smallest improvement of the monitor that ends a plateau.", least=0
    )
    plateau_cooldown: int = _setting(
        2,
        "Validations to wait, after the learning rate was lowered, before the next plateau can "
        "begin; as in Keras, the last of them counts already.",
        least=0,
    )
    min_learning_rate: float = _setting(
        1e-6, "Lower bound of the learning rate on plateaus.", least=0
    )
    freeze_backbone_epochs: int = _setting(
        0,
        "Passes over the training samples, rounded up to whole validations, during which the "
        "backbone is frozen while the embedding layer and the proxies learn.",
        least=0,
    )
    warmup_steps: int = _setting(
        0,
        "Steps that ccp trains on the batch loss alone before its first round, rounded up to whole "
        "validations; networks trained from scratch need some.",
        least=0,
    )

    proxies_per_class: int = _setting(
        8,
        "Proxies per class for ccp; soft_triple and sub_center_arcface have as many as their "
        "loss_params say.",
        least=1,
    )
    sampled_classes: int = _setting(
        0,
        "Classes beside its own whose proxies a batch is compared with, drawn anew in each step, "
        "where there are too many classes to compare it with all; 0 for all. Proxies that are not "
        "drawn do not change.",
        least=0,
    )
    pool_size: int = _setting(
        12,
        "Samples of a class to choose its proxies from; pool_size * proxies_per_class if it is "
        "less than proxies_per_class.",
        least=1,
        most=_LARGEST_COUNT,
    )
    proxy_loss_weight: float = _setting(1.0, "Weight of the loss against the proxies.", least=0)
    batch_loss_weight: float = _setting(0.1, "Weight of the loss within the batch.", least=0)
    proximal_weight: float = _setting(2e-4, "Proximal weight in round 1.", least=0)
    proximal_growth: float = _setting(
        1.0, "Factor of the proximal weight from one round to the next.", least=0
    )
    round_patience: int = _setting(
        3, "Validations without improvement after which a round ends.", least=1
    )
    round_min_delta: float = _setting(
        1e-5, "Improvement of the monitor that counts in a round.", least=0
    )
    perturbation: float = _setting(
        0.0, "Noise of the reference point, relative to the root mean square of a weight.", least=0
    )

    memory_batches: int = _setting(25, "Batches that the memory of xbm holds.", least=1)
    memory_start_step: int = _setting(
        1000, "Steps before those that fill the memory of xbm for its first use.", least=0
    )
    memory_includes_batch: bool = _setting(
        True,
        "Whether a batch enters the memory of xbm before its loss, and so is among its own "
        "references, as in the authors' code. If not, the memory is used as soon as it is full and "
        "memory_start_step steps were taken.",
    )

    variational_samples: int = _setting(
        20, "Embeddings that dvml synthesises of an image.", least=1
    )
    variational_hidden_units: int = _setting(
        512, "Units of the hidden layer of dvml's decoder.", least=1
    )
    first_phase_steps: int = _setting(
        1000,
        "Steps of dvml's first phase, rounded up to whole validations, in which the decoder does "
        "not train the network.",
        least=0,
    )
    first_phase_weights: tuple[float, ...] = _setting(
        (1.0, 1.0, 0.1, 1.0),
        "Weights of dvml's losses in the first phase: divergence and reconstruction, which are "
        "sums over units and may need far smaller ones, the loss of synthesised embeddings, the "
        "loss.",
        least=0,
        length=4,
    )
    second_phase_weights: tuple[float, ...] = _setting(
        (0.8, 1.0, 0.2, 0.8), "The same in the second phase.", least=0, length=4
    )
    decoder_learning_rate: float = _setting(
        1e-2, "Learning rate of dvml's decoder, per step.", above=0
    )

    metrics: tuple[str, ...] = _setting(
        (),
        "Metrics that results hold beside P@1, R-precision, MAP@R, recall@k and covering radius, a "
        f"comma-separated list of {', '.join(METRICS)}, such as map,mrr,map_at_10,macro_map_at_r,"
        "roc_auc,tar_at_far_0.001.",
    )
    bootstrap_resamples: int = _setting(
        0,
        "How often queries are drawn anew for 95 % intervals of the retrieval metrics, such as "
        "1000; 0 for no intervals.",
        least=0,
    )
    clustering: bool = _setting(
        False,
        "Whether results also hold NMI, AMI and pairwise F1 of a k-means clustering of the test "
        "samples, which takes long for thousands of classes.",
    )
    jit_compile: bool = _setting(
        False, "Whether training steps are compiled with XLA; those of JAX always are."
    )
    strategy: str = _setting(
        "none",
        "Devices that training is spread over: one (none). With TensorFlow all GPUs of this "
        "machine, or the share of each of --processes (mirrored), or those of several machines, "
        "which TF_CONFIG lists (multi_worker). With JAX all devices (data_parallel), of which "
        "groups may share the proxies and the memory (model_parallel). A batch is that of all of "
        "them, and the numbers are the same up to rounding.",
        choices=_STRATEGIES,
    )
    model_devices: int = _setting(
        1,
        "For --strategy=model_parallel: devices that share the proxies, their moments and the "
        "memory, for classes that one device cannot hold; a divisor of the number of devices.",
        least=1,
    )
    precision: str = _setting(
        "float32",
        "What the network computes in while it is trained; weights, losses and proxies, and the "
        "network that is measured and saved, are float32 either way.",
        choices=PRECISIONS,
    )
    steps_per_execution: int = _setting(
        1,
        "Steps that are taken between two looks of Python, a divisor of steps_per_validation; "
        "small networks train faster with 10. Several devices need 1.",
        least=1,
    )
    figure_rounds: int = _setting(
        0,
        "Rounds of ccp, after the first, to draw in the figure of a 2-d embedding, which takes "
        "another training; 0 for no figure.",
        least=0,
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind = numbers.Real if isinstance(field.default, float) else type(field.default)
            if field.default is not dataclasses.MISSING and not isinstance(value, kind):
                raise ValueError(f"{field.name} must be of type {kind.__name__}; got {value!r}")
            _check(field.name, value, field.metadata)
        if not self.method:
            raise ValueError(f"method must name at least one of {', '.join(METHODS)}")
        if len(set(self.method)) < len(self.method):
            raise ValueError(f"method must name each method once; got {','.join(self.method)}")
        if self.steps_per_validation % self.steps_per_execution:
            raise ValueError(
                f"steps_per_execution must divide steps_per_validation, "
                f"{self.steps_per_validation}; got {self.steps_per_execution}"
            )
        self._check_learning_rates()
        batch_size = self.classes_per_batch * self.samples_per_class
        if batch_size % self.gradient_cache_parts:
            raise ValueError(
                f"gradient_cache_parts must divide the {batch_size} samples of a batch; got "
                f"{self.gradient_cache_parts}"
            )
        choose_metrics(self.metrics)
        check_crop_area(self.crop_area)
        parse_color("background", self.background)
        _check_params(self.dataset, self.dataset_params, dataset_parameters(self.dataset))
        self._check_loss()
        for kind, module in [("loss_wrapper", losses), ("miner", miners)]:
            name = getattr(self, kind)
            known = module.parameters(name) if name != "none" else []
            _check_params(f"{kind} {name}", getattr(self, f"{kind}_params"), known)
        known = sampler_parameters(self.sampler)
        if self.sampler == "hard_classes":
            known += HARD_CLASS_PARAMETERS
        _check_params(f"sampler {self.sampler}", self.sampler_params, known)
        _check_params("color_jitter", self.color_jitter, COLOR_JITTER_PARAMETERS)
        _check_numbers("learning_rate_multipliers", self.learning_rate_multipliers)
        for part, factor in self.learning_rate_multipliers.items():
            _check(f"learning_rate_multipliers of {part}", factor, {"least": 0})

    def _check_loss(self):
        if ":" in self.loss:
            # Its module need not be there where results are read.
            _check_numbers_or_words(self.loss, self.loss_params)
            return
        check_one_of("loss", self.loss, (*LOSSES, "module:Class"))
        words = losses.word_parameters(self.loss)
        rest = {name: value for name, value in self.loss_params.items() if name not in words}
        _check_params(self.loss, rest, losses.parameters(self.loss))
        # Each loss knows its words.
        losses.get(self.loss, **self.loss_params)

    def _check_learning_rates(self):
        is_scheduled = self.learning_rate_schedule != "constant" or self.learning_rate_warmup_steps
        if is_scheduled and self.plateau_patience:
            raise ValueError(
                "plateau_patience lowers a learning rate that has no schedule: it must be 0 with "
                f"learning_rate_schedule={self.learning_rate_schedule} and "
                f"learning_rate_warmup_steps={self.learning_rate_warmup_steps}; got "
                f"{self.plateau_patience}"
            )
        if self.learning_rate_warmup_steps >= self.max_steps:
            raise ValueError(
                f"learning_rate_warmup_steps must be below max_steps, {self.max_steps}; got "
                f"{self.learning_rate_warmup_steps}"
            )
        if self.sampled_classes and (self.optimizer != "adam" or self.ema_momentum):
            raise ValueError(
                "sampled_classes changes the proxies that were drawn alone, for which optimizer "
                f"must be adam and ema_momentum 0; got {self.optimizer} and {self.ema_momentum}"
            )

    def same_results(self, other: "Settings") -> bool:
        """Whether other settings lead to the same numbers, up to rounding."""
        return self.without_machine() == other.without_machine()

    def without_machine(self) -> "Settings":
        """The settings that decide the numbers, with defaults for those of the machine."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: defaults[name] for name in _OF_THE_MACHINE})


def _check_numbers(name, numbers_by_name):
    if not isinstance(numbers_by_name, Mapping) or not all(
        isinstance(value, numbers.Real) for value in numbers_by_name.values()
    ):
        raise ValueError(f"{name} must be numbers by name; got {numbers_by_name!r}")


def _check_numbers_or_words(owner, params):
    for param, value in params.items():
        if not isinstance(value, str | numbers.Real):
            raise ValueError(f"{param} of {owner} must be a number or a word; got {value!r}")
        _check(param, value, {})


def _check_params(owner, params, known):
    _check_numbers(f"parameters of {owner}", params)
    check_parameters(owner, params, known)
    for param, value in params.items():
        _check(param, value, {})


def _check(name, value, metadata):
    if "length" in metadata and (
        len(value) != metadata["length"]
        or not all(isinstance(each, numbers.Real) for each in value)
    ):
        given = ",".join(map(str, value))
        raise ValueError(f"{name} must be {metadata['length']} numbers; got {given}")
    for each in value if isinstance(value, tuple) else [value]:
        _check_one(name, each, metadata)


def _check_one(name, value, metadata):
    if "choices" in metadata:
        check_one_of(name, value, metadata["choices"])
    if isinstance(value, float):
        check_finite(name, value)
    for bound, check in _BOUND_CHECKS.items():
        if bound in metadata:
            check(name, value, metadata[bound])


_BOUND_CHECKS = {
    "least": check_at_least,
    "most": check_at_most,
    "below": check_below,
    "above": check_above,
}
