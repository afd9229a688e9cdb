"""Miners: they choose the pairs or triplets that a loss sees."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from ccp_dml import identifiers
from ccp_dml.miners.distance_weighted_miner import DistanceWeightedMiner
from ccp_dml.miners.easy_positive_miner import EasyPositiveMiner
from ccp_dml.miners.hardest_pair_miner import HardestPairMiner
from ccp_dml.miners.miner import Miner
from ccp_dml.miners.multi_similarity_miner import MultiSimilarityMiner
from ccp_dml.miners.semi_hard_pair_miner import SemiHardPairMiner
from ccp_dml.miners.triplet_miner import EasyMiner, HardMiner, SemiHardMiner, TripletMiner

TRIPLET_MINERS: dict[str, type[TripletMiner]] = {
    "hard": HardMiner,
    "semi_hard": SemiHardMiner,
    "easy": EasyMiner,
}
"""Miners of triplets by name, for losses over triplets."""
PAIR_MINERS: dict[str, type[Miner]] = {
    "hardest_pairs": HardestPairMiner,
    "semi_hard_pairs": SemiHardPairMiner,
    "easy_positive": EasyPositiveMiner,
    "multi_similarity": MultiSimilarityMiner,
    "distance_weighted": DistanceWeightedMiner,
}
"""Miners of pairs by name, for all losses."""
MINERS: dict[str, type[Miner | TripletMiner]] = {**TRIPLET_MINERS, **PAIR_MINERS}
"""All miners by name."""


def get(identifier: str | Mapping[str, Any] | Callable | TripletMiner, /, **params) -> Any:
    """Returns a miner, for `ccp_dml.losses.Mined`.

    Args:
        identifier: A key of `MINERS`; the config of a miner, as `serialize` returns it; or a
            `Miner`, a `TripletMiner` or another callable with the arguments of a `Miner`, which is
            returned as it is.
        **params: Arguments of the miner, if it is given by its name; see its class.

    Returns:
        The miner.

    Raises:
        ValueError: If the identifier or a parameter is unknown; the message lists the known ones.

    Example:

    >>> get("semi_hard", margin=0.3).margin
    0.3
    >>> get({"class_name": "SemiHardMiner", "config": {"margin": 0.1}}).margin
    0.1
    """
    return identifiers.get("miner", Miner, MINERS, identifier, params, is_valid=_is_miner)


def _is_miner(miner):
    # Classes are callable too, but are not miners.
    is_miner = callable(miner) or isinstance(miner, TripletMiner)
    return is_miner and not isinstance(miner, type)


def serialize(miner: Callable) -> dict[str, Any]:
    """Returns the config of a miner.

    Args:
        miner: A `Miner`, or another object that Keras can serialize.

    Returns:
        A dictionary of JSON values.

    Example:

    >>> serialize(SemiHardMiner(margin=0.1))["config"]
    {'margin': 0.1}
    """
    return keras.saving.serialize_keras_object(miner)


def deserialize(config: Mapping[str, Any]) -> Callable:
    """Returns a miner from its config.

    Args:
        config: As `serialize` returns it. `"class_name"` and `"config"` are enough for the miners
            of this package.

    Returns:
        The miner.

    Raises:
        ValueError: If the class or one of its parameters is unknown.
    """
    return get(config)


def parameters(name: str) -> list[str]:
    """Returns the names of the parameters of a miner, all of them numbers.

    Args:
        name: A key of `MINERS`.

    Example:

    >>> parameters("semi_hard")
    ['margin']
    """
    return identifiers.parameters(MINERS[name])


__all__ = [
    "MINERS",
    "PAIR_MINERS",
    "TRIPLET_MINERS",
    "DistanceWeightedMiner",
    "EasyMiner",
    "EasyPositiveMiner",
    "HardMiner",
    "HardestPairMiner",
    "Miner",
    "MultiSimilarityMiner",
    "SemiHardMiner",
    "SemiHardPairMiner",
    "TripletMiner",
    "deserialize",
    "get",
    "parameters",
    "serialize",
]
