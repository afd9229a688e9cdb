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
    """What is minimised, and from which random numbers."""

    method: tuple[str, ...] = setting(
        ("plain", "ccp"),
        "How the loss is used, a comma-separated list: plain, among the samples of a batch or, for "
        "a loss of proxies, against proxies that start at random; ccp, in rounds against proxies; "
        "xbm, also against a cross-batch memory; dvml, with intra-class variance modelled apart; "
        "or several at a time. Every method starts from the same weights.",
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
        "What is added around the loss: multi-level distance regularisation, or synthetic classes.",
        choices=("none", *WRAPPERS),
    )
    loss_wrapper_params: Mapping[str, float] = params("loss_wrapper", "weight=0.2")
    miner: str = setting("none", "Which pairs the loss takes.", choices=("none", *MINERS))
    miner_params: Mapping[str, float] = params("the miner", "margin=0.2")
    seed: int = setting(
        0, "Fixes initialisation, sampling, augmentation and pools.", least=0, most=2**32 - 1
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
            # Its module need not be there where results are read.
            check_numbers_or_words(self.loss, self.loss_params)
            return
        check_one_of("loss", self.loss, (*LOSSES, "module:Class"))
        words = losses.word_parameters(self.loss)
        rest = {name: value for name, value in self.loss_params.items() if name not in words}
        check_params(self.loss, rest, losses.parameters(self.loss))
        # Each loss knows its words.
        losses.get(self.loss, **self.loss_params)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxySettings(SettingGroup):
    """The proxies of ccp and its rounds."""

    proxies_per_class: int = setting(
        8,
        "Proxies per class for ccp; soft_triple and sub_center_arcface have as many as their "
        "loss_params say.",
        least=1,
    )
    sampled_classes: int = setting(
        0,
        "Classes beside its own whose proxies a batch is compared with, drawn anew in each step, "
        "where there are too many classes to compare it with all; 0 for all. Proxies that are not "
        "drawn do not change.",
        least=0,
    )
    pool_size: int = setting(
        12,
        "Samples of a class to choose its proxies from; pool_size * proxies_per_class if it is "
        "less than proxies_per_class.",
        least=1,
        most=LARGEST_COUNT,
    )
    proxy_selection: str = setting(
        "k_center",
        "What the proxies of a class are replaced by: samples of the pool far from each other and "
        "from the present proxies; random samples of it; its mean, for all of them; or nothing: "
        "they keep the random vectors that they start from.",
        choices=(*SELECTIONS, "none"),
    )
    max_renewals: int = setting(
        -1,
        "How often proxies are replaced after they were first selected, which is when the first "
        "rounds end: 0 for never, -1 for any number.",
        least=-1,
    )
    decay_proxies: bool = setting(True, "Whether weight_decay is of the proxies too.")
    proxy_loss_weight: float = setting(1.0, "Weight of the loss against the proxies.", least=0)
    batch_loss_weight: float = setting(0.1, "Weight of the loss within the batch.", least=0)
    proximal_weight: float = setting(2e-4, "Proximal weight in round 1.", least=0)
    proximal_growth: float = setting(
        1.0, "Factor of the proximal weight from one round to the next.", least=0
    )
    round_patience: int = setting(
        3, "Validations without improvement after which a round ends.", least=1
    )
    max_round_validations: int = setting(
        0,
        "Validations after which a round ends even if they still improve; 0 for any number.",
        least=0,
    )
    round_min_delta: float = setting(
        1e-5, "Improvement of the monitor that counts in a round.", least=0
    )
    perturbation: float = setting(
        0.0, "Noise of the reference point, relative to the root mean square of a weight.", least=0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemorySettings(SettingGroup):
    """The cross-batch memory of xbm."""

    memory_batches: int = setting(25, "Batches that the memory of xbm holds.", least=1)
    memory_start_step: int = setting(
        1000, "Steps before those that fill the memory of xbm for its first use.", least=0
    )
    memory_includes_batch: bool = setting(
        True,
        "Whether a batch enters the memory of xbm before its loss, and so is among its own "
        "references, as in the authors' code. If not, the memory is used as soon as it is full and "
        "memory_start_step steps were taken.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariationalSettings(SettingGroup):
    """The decoder of dvml and its phases."""

    variational_samples: int = setting(20, "Embeddings that dvml synthesises of an image.", least=1)
    variational_hidden_units: int = setting(
        512, "Units of the hidden layer of dvml's decoder.", least=1
    )
    first_phase_steps: int = setting(
        1000,
        "Steps of dvml's first phase, rounded up to whole validations, in which the decoder does "
        "not train the network.",
        least=0,
    )
    first_phase_weights: tuple[float, ...] = setting(
        (1.0, 1.0, 0.1, 1.0),
        "Weights of dvml's losses in the first phase: divergence and reconstruction, which are "
        "sums over units and may need far smaller ones, the loss of synthesised embeddings, the "
        "loss.",
        least=0,
        length=4,
    )
    second_phase_weights: tuple[float, ...] = setting(
        (0.8, 1.0, 0.2, 0.8), "The same in the second phase.", least=0, length=4
    )
    decoder_learning_rate: float = setting(
        1e-2, "Learning rate of dvml's decoder, per step.", above=0
    )
