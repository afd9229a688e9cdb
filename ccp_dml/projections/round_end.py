"""The result of a round of CCP."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class RoundEnd:
    """The result of a round.

    Attributes:
        round: Number of the round that ended, from 0.
        proxies: The proxies at the round's best validation `(C, K, d)`, before normalisation.
        next_proxies: The proxies that the next round starts from, likewise.
        pool: The embedded pool of the next round `(C, b, d)`, before normalisation; `None` if
            it was too large to be kept as a whole.
        covering_radius: Mean over the classes of the largest distance from a pool sample to the
            nearest of `proxies`, all normalised.
        next_covering_radius: The same for `next_proxies`.
    """

    round: int
    proxies: np.ndarray
    next_proxies: np.ndarray
    pool: np.ndarray | None
    covering_radius: float
    next_covering_radius: float


@dataclasses.dataclass(frozen=True)
class RoundSnapshot:
    """The end of a round with 2-d embeddings.

    Attributes:
        end: The result of the round; its vectors are 2-d.
        embeddings: Normalised embeddings of training samples at the end of the round `(n, 2)`.
        labels: Their classes `(n,)`.
    """

    end: RoundEnd
    embeddings: np.ndarray
    labels: np.ndarray
