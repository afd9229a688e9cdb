"""Metric-learning losses: called on a batch, or on a batch against references such as proxies."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from ccp_dml import identifiers
from ccp_dml.losses.angular import Angular
from ccp_dml.losses.arcface import ArcFace
from ccp_dml.losses.circle import Circle
from ccp_dml.losses.contrastive import Contrastive
from ccp_dml.losses.cosface import CosFace
from ccp_dml.losses.cosine_contrastive import CosineContrastive
from ccp_dml.losses.distances import DISTANCES
from ccp_dml.losses.fast_ap import FastAP
from ccp_dml.losses.lifted_structure import LiftedStructure
from ccp_dml.losses.margin import Margin
from ccp_dml.losses.mined import Mined
from ccp_dml.losses.multi_level_distance import MultiLevelDistance
from ccp_dml.losses.multi_similarity import MultiSimilarity
from ccp_dml.losses.n_pair import NPair
from ccp_dml.losses.normalized_softmax import NormalizedSoftmax
from ccp_dml.losses.pairwise import PairwiseLoss, have_common_label
from ccp_dml.losses.proxy_anchor import ProxyAnchor
from ccp_dml.losses.proxy_nca import ProxyNCA
from ccp_dml.losses.proxy_synthesis import ProxySynthesis
from ccp_dml.losses.ranked_list import RankedList
from ccp_dml.losses.recall_at_k_surrogate import RecallAtKSurrogate
from ccp_dml.losses.reductions import ANCHOR_REDUCTIONS, REDUCTIONS
from ccp_dml.losses.smooth_ap import SmoothAP
from ccp_dml.losses.soft_triple import SoftTriple
from ccp_dml.losses.sub_center_arcface import SubCenterArcFace
from ccp_dml.losses.sup_con import SupCon
from ccp_dml.losses.triplet import Triplet
from ccp_dml.losses.virtual_softmax import VirtualSoftmax
from ccp_dml.losses.weighted_sum import WeightedSum
from ccp_dml.losses.wrapper import LossWrapper

# NT-Xent with labels is the N-pair loss of a batch; the second name is for those who look for it.
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
    "nt_xent": NPair,
    "normalized_softmax": NormalizedSoftmax,
    "sup_con": SupCon,
    "arcface": ArcFace,
    "cosface": CosFace,
    "sub_center_arcface": SubCenterArcFace,
    "circle": Circle,
    "angular": Angular,
    "lifted_structure": LiftedStructure,
    "ranked_list": RankedList,
    "fast_ap": FastAP,
    "smooth_ap": SmoothAP,
    "recall_at_k_surrogate": RecallAtKSurrogate,
}
"""Losses by name."""

WRAPPERS: dict[str, type[LossWrapper]] = {
    "multi_level_distance": MultiLevelDistance,
    "proxy_synthesis": ProxySynthesis,
    "virtual_softmax": VirtualSoftmax,
}
"""Losses that wrap another loss, by name."""


_CLASSES = {**LOSSES, **WRAPPERS, "mined": Mined, "weighted_sum": WeightedSum}


def get(identifier: str | Mapping[str, Any] | PairwiseLoss, /, **params) -> PairwiseLoss:
    """Returns a loss.

    Args:
        identifier: A key of `LOSSES` or `WRAPPERS`, `"mined"` or `"weighted_sum"`;
            `"module:Class"`, your own class or function in a module that Python can import; the
            config of a loss, as `serialize` returns it; or a `PairwiseLoss`, which is returned as
            it is.
        **params: Arguments of the loss, if it is given by its name; see its class. A wrapper takes
            a `loss` in any of these forms, by default `"normalized_softmax"`; a sum takes `terms`,
            pairs of a loss, again in any of these forms, and its weight.

    Returns:
        The loss.

    Raises:
        ValueError: If the identifier or a parameter is unknown (the message lists the known ones),
            or if the object that `"module:Class"` names cannot be imported or is not a
            `PairwiseLoss`.

    Example:

    >>> get("contrastive", negative_margin=0.5)(np.array([0, 1]), np.zeros((2, 3), "float32"))
    <tf.Tensor: shape=(), dtype=float32, numpy=0.5>
    >>> get("proxy_synthesis", loss="proxy_nca", alpha=0.2).loss.temperature
    0.1
    >>> get({"class_name": "Triplet", "config": {"margin": 0.2}}).margin
    0.2
    """
    name, params = identifiers.unpack(_CLASSES, identifier, params)
    if isinstance(name, str) and issubclass(_CLASSES.get(name, PairwiseLoss), LossWrapper):
        params["loss"] = get(params.get("loss", "normalized_softmax"))
    if name == "weighted_sum":
        params["terms"] = [(get(loss), weight) for loss, weight in params.get("terms", ())]
    if isinstance(name, str) and ":" in name:
        return identifiers.make("loss", PairwiseLoss, name, params)
    return identifiers.get("loss", PairwiseLoss, _CLASSES, name, params)


def serialize(loss: PairwiseLoss) -> dict[str, Any]:
    """Returns the config of a loss.

    Args:
        loss: The loss.

    Returns:
        A dictionary of JSON values.

    Example:

    >>> serialize(Triplet(margin=0.2))["config"]["margin"]
    0.2
    """
    return keras.saving.serialize_keras_object(loss)


def deserialize(config: Mapping[str, Any]) -> PairwiseLoss:
    """Returns a loss from its config.

    Args:
        config: As `serialize` returns it. `"class_name"` and `"config"` are enough for the losses
            of this package.

    Returns:
        The loss.

    Raises:
        ValueError: If the class or one of its parameters is unknown.
    """
    return get(config)


def parameters(name: str) -> list[str]:
    """Returns the names of the parameters of a loss or a wrapper: numbers and choices.

    The arguments of the base classes, such as `normalize`, are not among them.

    Args:
        name: A key of `LOSSES` or `WRAPPERS`.

    Example:

    >>> parameters("multi_similarity")
    ['alpha', 'beta', 'base', 'reduction']
    >>> parameters("proxy_synthesis")
    ['alpha', 'ratio']
    """
    return identifiers.parameters({**LOSSES, **WRAPPERS}[name])


def word_parameters(name: str) -> list[str]:
    """Returns which of the `parameters` are words, such as the name of a distance.

    Args:
        name: A key of `LOSSES` or `WRAPPERS`.

    Example:

    >>> word_parameters("contrastive")
    ['distance', 'reduction']
    """
    taken = inspect.signature({**LOSSES, **WRAPPERS}[name]).parameters
    return [each for each in parameters(name) if isinstance(taken[each].default, str)]


__all__ = [
    "ANCHOR_REDUCTIONS",
    "DISTANCES",
    "LOSSES",
    "REDUCTIONS",
    "WRAPPERS",
    "Angular",
    "ArcFace",
    "Circle",
    "Contrastive",
    "CosFace",
    "CosineContrastive",
    "FastAP",
    "LiftedStructure",
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
    "RankedList",
    "RecallAtKSurrogate",
    "SmoothAP",
    "SoftTriple",
    "SubCenterArcFace",
    "SupCon",
    "Triplet",
    "VirtualSoftmax",
    "WeightedSum",
    "deserialize",
    "get",
    "have_common_label",
    "parameters",
    "serialize",
    "word_parameters",
]
