"""Metric-learning losses: called on a batch, or on a batch against references such as proxies."""

import inspect

from ccp_dml.losses.contrastive import Contrastive
from ccp_dml.losses.cosine_contrastive import CosineContrastive
from ccp_dml.losses.margin import Margin
from ccp_dml.losses.mined import Mined
from ccp_dml.losses.miners import MINERS, DistanceWeighted, Hard, SemiHard
from ccp_dml.losses.multi_level_distance import MultiLevelDistance
from ccp_dml.losses.multi_similarity import MultiSimilarity
from ccp_dml.losses.n_pair import NPair
from ccp_dml.losses.normalized_softmax import NormalizedSoftmax
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.proxy_anchor import ProxyAnchor
from ccp_dml.losses.proxy_nca import ProxyNCA
from ccp_dml.losses.proxy_synthesis import ProxySynthesis
from ccp_dml.losses.soft_triple import SoftTriple
from ccp_dml.losses.triplet import Triplet
from ccp_dml.losses.virtual_softmax import VirtualSoftmax
from ccp_dml.losses.wrapper import LossWrapper

LOSSES: dict[str, type[PairwiseLoss]] = {
    "contrastive": Contrastive,
    "cosine_contrastive": CosineContrastive,
    "triplet": Triplet,
    "multi_similarity": MultiSimilarity,
    "proxy_anchor": ProxyAnchor,
    "proxy_nca": ProxyNCA,
    "soft_triple": SoftTriple,
    "margin": Margin,
    "n_pair": NPair,
    "normalized_softmax": NormalizedSoftmax,
}

# Losses around another loss.
WRAPPERS: dict[str, type[LossWrapper]] = {
    "multi_level_distance": MultiLevelDistance,
    "proxy_synthesis": ProxySynthesis,
    "virtual_softmax": VirtualSoftmax,
}

_KINDS = {"loss": {**LOSSES, **WRAPPERS}, "miner": MINERS}


def get(name: str, /, **params) -> PairwiseLoss:
    """Makes a loss from its name.

    Args:
        name: A key of `LOSSES` or `WRAPPERS`.
        **params: Arguments of the loss; see its class. That of a wrapper takes a loss or the name
            of one as `loss`, by default `"normalized_softmax"`.

    Raises:
        ValueError: If the name or a parameter is unknown; the message lists the known ones.

    Example:

    >>> get("contrastive", negative_margin=0.5)(np.array([0, 1]), np.zeros((2, 3), "float32"))
    <tf.Tensor: shape=(), dtype=float32, numpy=0.5>
    >>> get("proxy_synthesis", loss="proxy_nca", alpha=0.2).loss.temperature
    0.1
    """
    if name in WRAPPERS:
        params.setdefault("loss", "normalized_softmax")
        if isinstance(params["loss"], str):
            params["loss"] = get(params["loss"])
    return _made("loss", name, params, ["normalize", "name"])


def get_miner(name: str, /, **params):
    """Makes a miner from its name, for `Mined`.

    Args:
        name: A key of `MINERS`.
        **params: Arguments of the miner; see its class.

    Raises:
        ValueError: If the name or a parameter is unknown; the message lists the known ones.

    Example:

    >>> Mined(get("triplet", margin=0.2), get_miner("semi_hard", margin=0.2)).miner.margin
    0.2
    """
    return _made("miner", name, params, [])


def parameters(name: str) -> list[str]:
    """The numbers that a loss, a wrapper or a miner takes, beside what all of its kind take.

    Args:
        name: A key of `LOSSES`, `WRAPPERS` or `MINERS`.

    Example:

    >>> parameters("multi_similarity")
    ['alpha', 'beta', 'base']
    >>> parameters("proxy_synthesis")
    ['alpha', 'ratio']
    """
    (made,) = (classes[name] for classes in _KINDS.values() if name in classes)
    signature = inspect.signature(made)
    return [name for name in signature.parameters if name not in ("loss", "kwargs")]


def _made(kind, name, params, common):
    classes = _KINDS[kind]
    if name not in classes:
        raise ValueError(f"unknown {kind} {name!r}; the choices are {', '.join(classes)}")
    known = [*parameters(name), *common, *(["loss"] if name in WRAPPERS else [])]
    for param in params:
        if param not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{name} has no parameter {param!r}; {takes}")
    return classes[name](**params)


__all__ = [
    "LOSSES",
    "MINERS",
    "WRAPPERS",
    "Contrastive",
    "CosineContrastive",
    "DistanceWeighted",
    "Hard",
    "LossWrapper",
    "Margin",
    "Mined",
    "MultiLevelDistance",
    "MultiSimilarity",
    "NPair",
    "NormalizedSoftmax",
    "PairwiseLoss",
    "ProxyAnchor",
    "ProxyNCA",
    "ProxySynthesis",
    "SemiHard",
    "SoftTriple",
    "Triplet",
    "VirtualSoftmax",
    "get",
    "get_miner",
    "parameters",
]
