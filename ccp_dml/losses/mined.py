"""A loss of the pairs that a miner chooses."""

import keras
from keras import ops

from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.randomness import seed_of
from ccp_dml.losses.wrapper import LossWrapper


@keras.saving.register_keras_serializable("ccp_dml")
class Mined(LossWrapper):
    """A loss of those pairs that a miner chooses.

    The pairs that are not chosen are neither positive nor negative to the loss.

    Args:
        loss: The `PairwiseLoss` to wrap.
        miner: An object of `ccp_dml.miners.MINERS`, or any callable that narrows masks as `Hard`
            does; to be saved with a model it has to be serialisable by Keras.
        **kwargs: See `LossWrapper`.

    Call arguments:
        As those of the wrapped loss.

    Raises:
        ValueError: If `miner` cannot be called.

    Example:

    >>> from ccp_dml.losses import Triplet
    >>> from ccp_dml.miners import Hard
    >>> loss = Mined(Triplet(margin=0.5), Hard())
    >>> embeddings = np.array([[0.0], [0.25], [0.5], [1.0]], "float32")
    >>> loss(np.array([0, 0, 1, 1]), embeddings).numpy()
    np.float32(0.4375)
    """

    def __init__(self, loss, miner, **kwargs):
        super().__init__(loss, **kwargs)
        if not callable(miner):
            raise ValueError(f"miner must be a callable such as Hard(); got {miner!r}")
        self.miner = miner

    def labeled_loss(self, embeddings, references, pairs, seed, **weights):
        seed = seed_of(embeddings) if seed is None else seed
        distances = ops.stop_gradient(euclidean_distances(embeddings, references))
        positives, negatives = self.miner(
            distances, pairs.positives, pairs.negatives, embeddings.shape[1], seed
        )
        pairs = pairs._replace(positives=positives, negatives=negatives)
        return self.loss.labeled_loss(embeddings, references, pairs, seed, **weights)

    def get_config(self):
        return {**super().get_config(), "miner": keras.saving.serialize_keras_object(self.miner)}

    @classmethod
    def from_config(cls, config):
        miner = keras.saving.deserialize_keras_object(config["miner"])
        return super().from_config({**config, "miner": miner})
