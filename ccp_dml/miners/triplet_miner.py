"""Chooses triplets that are hard, semi-hard or easy."""

import keras

from ccp_dml.checks import check_above

_FAR = float("inf")


class TripletMiner:
    """Base class of miners that choose triplets, for losses over triplets.

    A triplet of an anchor i, a positive j and a negative k is chosen if `lower < Dᵢₖ − Dᵢⱼ <=
    upper`, D the distance of the loss, by default Euclidean. A miner of pairs lets a loss see all
    triplets of the chosen pairs; with these miners it sees only the chosen triplets.

    Attributes:
        lower: The lower bound, exclusive.
        upper: The upper bound, inclusive.
    """

    lower: float
    upper: float

    def get_config(self) -> dict:
        """Returns the arguments of the miner by name."""
        return {}

    @classmethod
    def from_config(cls, config: dict):
        """Makes a miner from what `get_config` returned."""
        return cls(**config)


@keras.saving.register_keras_serializable("ccp_dml")
class HardMiner(TripletMiner):
    """Chooses triplets whose negative is no farther than the positive (Schroff et al., CVPR 2015).

    Example:

    >>> from ccp_dml.losses import Mined, Triplet
    >>> embeddings = np.array([[0.0], [0.5], [0.25], [0.75]], "float32")
    >>> Mined(Triplet(margin=0.5), HardMiner())(np.array([0, 0, 1, 1]), embeddings).numpy()
    np.float32(0.75)
    """

    lower, upper = -_FAR, 0.0


class _MarginMiner(TripletMiner):
    def __init__(self, margin: float = 0.2):
        check_above("margin", margin, 0)
        self.margin = margin

    def get_config(self):
        return {"margin": self.margin}


@keras.saving.register_keras_serializable("ccp_dml")
class SemiHardMiner(_MarginMiner):
    """Chooses triplets whose negative is farther than the positive by at most a margin.

    These are the triplets of FaceNet (Schroff et al., CVPR 2015), which draws one of them for each
    pair of an anchor and a positive; here all of them are chosen.

    Args:
        margin: m, of Euclidean distances. Defaults to 0.2.

    Raises:
        ValueError: If `margin` is not positive.
    """

    lower = 0.0

    @property
    def upper(self):
        return self.margin


@keras.saving.register_keras_serializable("ccp_dml")
class EasyMiner(_MarginMiner):
    """Chooses triplets whose negative is farther than the positive by more than a margin.

    They contribute to a triplet loss only if its own margin is larger.

    Args:
        margin: m, of Euclidean distances. Defaults to 0.2.

    Raises:
        ValueError: If `margin` is not positive.
    """

    upper = _FAR

    @property
    def lower(self):
        return self.margin
