"""Miners: which of the pairs a loss takes."""

from ccp_dml import identifiers
from ccp_dml.miners.distance_weighted import DistanceWeighted
from ccp_dml.miners.hard import Hard
from ccp_dml.miners.semi_hard import SemiHard

MINERS: dict[str, type] = {
    "hard": Hard,
    "semi_hard": SemiHard,
    "distance_weighted": DistanceWeighted,
}


def get(name: str, /, **params):
    """Makes a miner from its name, for `ccp_dml.losses.Mined`.

    Args:
        name: A key of `MINERS`.
        **params: Arguments of the miner; see its class.

    Raises:
        ValueError: If the name or a parameter is unknown; the message lists the known ones.

    Example:

    >>> get("semi_hard", margin=0.3).margin
    0.3
    """
    return identifiers.make("miner", MINERS, name, params, common=[])


def parameters(name: str) -> list[str]:
    """The numbers that a miner takes.

    Args:
        name: A key of `MINERS`.

    Example:

    >>> parameters("semi_hard")
    ['margin']
    """
    return identifiers.parameters(MINERS[name])


__all__ = ["MINERS", "DistanceWeighted", "Hard", "SemiHard", "get", "parameters"]
