"""Settings of the methods and of what they minimise."""

import dataclasses
from collections.abc import Mapping

from ccp_dml import losses, miners
from ccp_dml.checks import check_one_of
from ccp_dml.experiment.settings.setting import (
    LARGEST_COUNT,
    SettingGroup,
    check_numbers_or_words,
    check_params,
    params,
    setting,
)
from ccp_dml.losses import LOSSES, WRAPPERS
from ccp_dml.miners import MINERS
from ccp_dml.projections import SELECTIONS

METHODS = ("plain", "ccp", "xbm", "dvml", "ccp+xbm", "ccp+dvml", "xbm+dvml", "ccp+xbm+dvml")
"""The ways to use a loss, by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodSettings(SettingGroup):
    """The methods and their loss, and the seed."""

    method: tuple[str, ...] = setting(
        ("plain", "ccp"),
        "Methods to train, a comma-separated list. plain: the loss among the samples of a batch "
        "or, for a proxy loss, against proxies that start at random. ccp: in rounds against "
        "proxies. xbm: also against a cross-batch memory. dvml: with a separate model of "
        "intra-class variance. They combine, as in ccp+xbm. Every method starts from the same "
        "weights.",
        choices=METHODS,
    )
    loss: str = setting(
        "contrastive",
        f"Loss: one of {', '.join(LOSSES)}; or module:Class, your own ccp_dml.losses.PairwiseLoss, "
        "or a function that returns one.",
    )
    loss_params: Mapping[str, float | str] = params(
        "the loss", "negative_margin=0.5409,distance=cosine,reduction=mean", words=True
    )
    loss_wrapper: str = setting(
        "none",
        "What to add to the loss: multi-level distance regularisation, synthetic classes, or a "
        "virtual class for each sample.",
        choices=("none", *WRAPPERS),
    )
    loss_wrapper_params: Mapping[str, float] = params("loss_wrapper", "weight=0.2")
    miner: str = setting(
        "none", "Which pairs or triplets the loss uses.", choices=("none", *MINERS)
    )
    miner_params: Mapping[str, float] = params("the miner", "margin=0.2")
    seed: int = setting(
        0, "Determines initialisation, sampling, augmentation and pools.", least=0, most=2**32 - 1
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.method:
            raise ValueError(f"method must name at least one of {', '.join(METHODS)}")
        if len(set(self.method)) < len(self.method):
            raise ValueError(f"method must name each method once; got {','.join(self.method)}")
        self._check_loss()
        for kind, module in [("loss_wrapper", losses), ("miner", miners)]:
            name = getattr(self, kind)
            known = module.parameters(name) if name != "none" else []
            check_params(f"{kind} {name}", getattr(self, f"{kind}_params"), known)

    def _check_loss(self):
        if ":" in self.loss:
            # Its module may be missing where results are only read.
            check_numbers_or_words(self.loss, self.loss_params)
            return
        check_one_of("loss", self.loss, (*LOSSES, "module:Class"))
        words = losses.word_parameters(self.loss)
        rest = {name: value for name, value in self.loss_params.items() if name not in words}
        check_params(self.loss, rest, losses.parameters(self.loss))
        # Each loss checks its own words.
        losses.get(self.loss, **self.loss_params)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxySettings(SettingGroup):
    """The proxies of ccp and its rounds."""

    proxies_per_class: int = setting(
        8,
        "Number of proxies per class for ccp; for soft_triple and sub_center_arcface it is set by "
        "loss_params.",
        least=1,
    )
    sampled_classes: int = setting(
        0,
        "Number of classes, besides those of the batch, whose proxies the batch is compared with, "
        "drawn anew in each step, if there are too many classes to compare it with all; 0 for all. "
        "Proxies that are not drawn do not change.",
        least=0,
    )
    pool_size: int = setting(
        12,
        "Number of samples of each class to choose its proxies from; if it is less than "
        "proxies_per_class, it is multiplied by proxies_per_class.",
        least=1,
        most=LARGEST_COUNT,
    )
    proxy_selection: str = setting(
        "k_center",
        "What replaces the proxies of a class. k_center: samples of the pool far from each other "
        "and from the current proxies. random: random samples of the pool. class_means: the mean "
        "of the pool, for all of them. none: nothing; they start from random vectors and are never "
        "replaced.",
        choices=(*SELECTIONS, "none"),
    )
    max_renewals: int = setting(
        -1,
        "Number of times that proxies are replaced after they are first selected, at the ends of "
        "the first rounds; 0 for never, -1 for no limit.",
        least=-1,
    )
    decay_proxies: bool = setting(True, "Whether weight_decay applies to the proxies too.")
    proxy_loss_weight: float = setting(1.0, "Weight of the loss against the proxies.", least=0)
    batch_loss_weight: float = setting(0.1, "Weight of the loss within the batch.", least=0)
    proximal_weight: float = setting(
        2e-4,
        "Weight of the proximal term, multiplied in round t by proximal_growth to the power of t; "
        "round 0 has none.",
        least=0,
    )
    proximal_growth: float = setting(
        1.0, "Factor of the proximal weight from one round to the next.", least=0
    )
    round_patience: int = setting(
        3, "Number of validations without improvement after which a round ends.", least=1
    )
    max_round_validations: int = setting(
        0,
        "Number of validations after which a round ends even if they still improve; 0 for no "
        "limit.",
        least=0,
    )
    round_min_delta: float = setting(
        1e-5, "Smallest improvement of the monitor that counts in a round.", least=0
    )
    perturbation: float = setting(
        0.0,
        "Size of the noise added to the reference point, relative to the root mean square of "
        "each weight.",
        least=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemorySettings(SettingGroup):
    """The cross-batch memory of xbm."""

    memory_batches: int = setting(25, "Number of batches in the memory of xbm.", least=1)
    memory_start_step: int = setting(
        1000,
        "Number of steps before the memory of xbm begins to count the batches that fill it: it is "
        "first used in step memory_start_step + memory_batches.",
        least=0,
    )
    memory_includes_batch: bool = setting(
        True,
        "Whether a batch enters the memory of xbm before its loss is computed, and is therefore "
        "among its own references, as in the authors' code. If not, the memory is used as soon as "
        "it is full and memory_start_step steps have been taken.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariationalSettings(SettingGroup):
    """The decoder of dvml and its phases."""

    variational_samples: int = setting(
        20, "Number of embeddings that dvml synthesises for an image.", least=1
    )
    variational_hidden_units: int = setting(
        512, "Number of units in the hidden layer of dvml's decoder.", least=1
    )
    first_phase_steps: int = setting(
        1000,
        "Number of steps of dvml's first phase, rounded up to whole validations, in which the "
        "decoder does not train the network.",
        least=0,
    )
    first_phase_weights: tuple[float, ...] = setting(
        (1.0, 1.0, 0.1, 1.0),
        "Weights of dvml's losses in the first phase: divergence and reconstruction, which are "
        "sums over units and may need far smaller weights, the loss of synthesised embeddings, and "
        "the loss.",
        least=0,
        length=4,
    )
    second_phase_weights: tuple[float, ...] = setting(
        (0.8, 1.0, 0.2, 0.8), "The same in the second phase.", least=0, length=4
    )
    decoder_learning_rate: float = setting(
        1e-2, "Learning rate of dvml's decoder, per step.", above=0
    )
