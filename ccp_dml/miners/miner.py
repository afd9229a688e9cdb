"""The base class of miners."""


class Miner:
    """Base class of miners, which choose the pairs that a loss sees.

    Subclasses implement `__call__`, and `get_config` if they have arguments. A subclass that is
    decorated with `keras.saving.register_keras_serializable` is saved with the model.

    Call arguments:
        distances: Euclidean distances of anchors and references `(n, r)`.
        positives: Boolean mask of the positive pairs `(n, r)`.
        negatives: Boolean mask of the negative pairs `(n, r)`.
        dimension: Number of dimensions d of the vectors.
        seed: An integer, for miners that draw random numbers. Equal seeds give equal draws.

    Returns:
        The masks of the positive and of the negative pairs that are chosen, each `(n, r)`.
    """

    def __call__(self, distances, positives, negatives, dimension, seed):
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__")

    def get_config(self) -> dict:
        """Returns the arguments of the miner by name."""
        return {}

    @classmethod
    def from_config(cls, config: dict):
        """Makes a miner from what `get_config` returned."""
        return cls(**config)
