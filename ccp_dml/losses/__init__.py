"""Metric-learning losses: called on a batch, or on a batch against references such as proxies."""

from ccp_dml import identifiers
from ccp_dml.losses.contrastive import Contrastive
from ccp_dml.losses.cosine_contrastive import CosineContrastive
from ccp_dml.losses.margin import Margin
from ccp_dml.losses.mined import Mined
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
    common = ["normalize", "name", *(["loss"] if name in WRAPPERS else [])]
    return identifiers.make("loss", {**LOSSES, **WRAPPERS}, name, params, common)


def parameters(name: str) -> list[str]:
    """The numbers that a loss or a wrapper takes, beside what all of its kind take.

    Args:
        name: A key of `LOSSES` or `WRAPPERS`.

    Example:

    >>> parameters("multi_similarity")
    ['alpha', 'beta', 'base']
    >>> parameters("proxy_synthesis")
    ['alpha', 'ratio']
    """
    return identifiers.parameters({**LOSSES, **WRAPPERS}[name])


__all__ = [
    "LOSSES",
    "WRAPPERS",
    "Contrastive",
    "CosineContrastive",
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
    "SoftTriple",
    "Triplet",
    "VirtualSoftmax",
    "get",
    "parameters",
]
