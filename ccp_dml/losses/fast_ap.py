"""FastAP: average precision from histograms of distances."""

import keras
from keras import ops

from ccp_dml.checks import check_whole_number
from ccp_dml.losses.distances import squared_distances
from ccp_dml.losses.pairwise import PairwiseLoss, mean_where

# Of vectors in the unit ball.
_LARGEST_SQUARED_DISTANCE = 4.0


@keras.saving.register_keras_serializable("ccp_dml")
class FastAP(PairwiseLoss):
    """FastAP (Cakir et al., CVPR 2019): one minus the average precision of binned distances.

    The mean, over the anchors with a positive, of `1 − Σ_b h⁺_b·H⁺_b/H_b / |P|`. Squared Euclidean
    distances of 0…4 fall into L + 1 bins around the multiples of 4/L, each divided between the two
    nearest in proportion; h⁺ counts the positives in a bin, H⁺ those up to it, and H positives and
    negatives up to it. Vectors farther apart, as without normalisation, count as being at squared
    distance 4. With `negative_counts` the numbers of negatives are unbiased, but the ratios are
    not.

    The references are the set that is ranked: the other samples of the batch, proxies, or a memory.

    Args:
        num_bins: L. Defaults to 10, as in the paper.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `num_bins` is not a whole number of at least 1.

    Example:

    >>> loss = FastAP(num_bins=4)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # Of 1.0, positives come second.
    0.5
    """

    def __init__(self, num_bins: int = 10, **kwargs):
        super().__init__(**kwargs)
        self.num_bins = check_whole_number("num_bins", num_bins, least=1)

    def labeled_loss(self, embeddings, references, pairs, seed):
        squared = squared_distances(embeddings, references)
        places = ops.minimum(squared, _LARGEST_SQUARED_DISTANCE) * (
            self.num_bins / _LARGEST_SQUARED_DISTANCE
        )
        positives = ops.cast(pairs.positives, places.dtype)
        negatives = pairs.weigh_negatives(ops.cast(pairs.negatives, places.dtype))
        positives_so_far = total_so_far = precision = ops.zeros_like(ops.sum(places, axis=1))
        for place in range(self.num_bins + 1):
            shares = ops.relu(1.0 - ops.abs(places - place))
            in_bin = ops.sum(positives * shares, axis=1)
            positives_so_far += in_bin
            total_so_far += in_bin + ops.sum(negatives * shares, axis=1)
            precision += (
                in_bin * positives_so_far / ops.where(total_so_far > 0.0, total_so_far, 1.0)
            )
        counts = ops.sum(positives, axis=1)
        return mean_where(1.0 - precision / ops.maximum(counts, 1.0), counts > 0.0)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins}
