"""A loss over the pairs or triplets that a miner chooses."""

from typing import Any

import keras
from keras import ops

from ccp_dml import miners
from ccp_dml.losses.distances import euclidean_distances
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.wrapper import LossWrapper
from ccp_dml.randomness import seed_of


@keras.saving.register_keras_serializable("ccp_dml")
class Mined(LossWrapper):
    """A loss over only those pairs, or triplets, that a miner chooses.

    Pairs that are not chosen count as neither positive nor negative. If the references are a sample
    of a larger set (`negative_counts`), the miner chooses among those that were drawn, and each
    chosen one counts once.

    Args:
        loss: The `PairwiseLoss` to wrap.
        miner: A `ccp_dml.miners.Miner`, its name or its config; for losses over triplets also a
            `TripletMiner`; or any callable with the call arguments of a `Miner`, which Keras must
            be able to serialize if it is to be saved with a model.
        **kwargs: See `LossWrapper`.

    Call arguments:
        Those of the wrapped loss.

    Raises:
        ValueError: If `miner` is none of these, or chooses triplets for a loss that is not over
            triplets.

    Example:

    >>> from ccp_dml.losses import Triplet
    >>> loss = Mined(Triplet(margin=0.5), miner="hardest_pairs")
    >>> embeddings = np.array([[0.0], [0.25], [0.5], [1.0]], "float32")
    >>> loss(np.array([0, 0, 1, 1]), embeddings).numpy()
    np.float32(0.4375)
    """

    def __init__(self, loss: PairwiseLoss, miner: Any, **kwargs):
        super().__init__(loss, **kwargs)
        self.miner = miners.get(miner)
        if self._chooses_triplets and not loss.takes_triplets:
            raise ValueError(
                f"{type(self.miner).__name__} chooses triplets, but {type(loss).__name__} is "
                f"not a loss over triplets: use one of {', '.join(miners.PAIR_MINERS)}"
            )

    @property
    def _chooses_triplets(self):
        return isinstance(self.miner, miners.TripletMiner)

    def labeled_loss(self, embeddings, references, pairs, seed, **weights):
        if self._chooses_triplets:
            options = {"miner": self.miner, **weights}
            return self.loss.labeled_loss(embeddings, references, pairs, seed, **options)
        seed = seed_of(embeddings) if seed is None else seed
        distances = ops.stop_gradient(euclidean_distances(embeddings, references))
        positives, negatives = self.miner(
            distances, pairs.positives, pairs.negatives, embeddings.shape[1], seed
        )
        pairs = pairs._replace(positives=positives, negatives=negatives, negative_counts=None)
        return self.loss.labeled_loss(embeddings, references, pairs, seed, **weights)

    def get_config(self):
        return {**super().get_config(), "miner": miners.serialize(self.miner)}
