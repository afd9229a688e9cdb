"""Metric-learning losses: called on a batch, or on a batch against references such as proxies."""

import inspect

from ccp_dml.losses.contrastive import Contrastive
from ccp_dml.losses.cosine_contrastive import CosineContrastive
from ccp_dml.losses.multi_similarity import MultiSimilarity
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.triplet import Triplet

LOSSES: dict[str, type[PairwiseLoss]] = {
    "contrastive": Contrastive,
    "cosine_contrastive": CosineContrastive,
    "triplet": Triplet,
    "multi_similarity": MultiSimilarity,
}


def get(name: str, /, **params) -> PairwiseLoss:
    """Makes a loss from its name.

    Args:
        name: A key of `LOSSES`.
        **params: Arguments of the loss; see its class.

    Raises:
        ValueError: If the name or a parameter is unknown; the message lists the known ones.

    Example:

    >>> get("contrastive", negative_margin=0.5)(np.array([0, 1]), np.zeros((2, 3), "float32"))
    <tf.Tensor: shape=(), dtype=float32, numpy=0.5>
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; the losses are {', '.join(LOSSES)}")
    known = [*parameters(name), "normalize", "name"]
    for param in params:
        if param not in known:
            raise ValueError(f"{name} has no parameter {param!r}; it takes {', '.join(known)}")
    return LOSSES[name](**params)


def parameters(name: str) -> list[str]:
    """The numbers that a loss takes, beside what all losses take.

    Args:
        name: A key of `LOSSES`.

    Example:

    >>> parameters("multi_similarity")
    ['alpha', 'beta', 'base']
    """
    signature = inspect.signature(LOSSES[name].__init__)
    return [parameter for parameter in signature.parameters if parameter not in ("self", "kwargs")]


__all__ = [
    "LOSSES",
    "Contrastive",
    "CosineContrastive",
    "MultiSimilarity",
    "PairwiseLoss",
    "Triplet",
    "get",
    "parameters",
]
