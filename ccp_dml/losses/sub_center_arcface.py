"""ArcFace with several centres per class."""

import keras
from keras import ops

from ccp_dml.losses.arcface import ArcFace
from ccp_dml.losses.class_groups import SeveralProxies
from ccp_dml.losses.distances import inner_products


@keras.saving.register_keras_serializable("ccp_dml")
class SubCenterArcFace(SeveralProxies, ArcFace):
    """Sub-center ArcFace (Deng et al., ECCV 2020): the nearest of several proxies of each class.

    A sample's similarity to a class is the largest of those to its K proxies, `S_c = max_k S_k`.
    The loss is that of `ArcFace` on these similarities, the mean over the samples of
    `−log(e^{s·cos(θ + m)} / (e^{s·cos(θ + m)} + Σ_c e^{s·S_c}))`, θ the angle for the sample's
    class and c the other classes. Samples whose class has no proxy are left out. With
    `negative_counts` the sum is unbiased, but its logarithm is too small on average.

    It needs exactly K references of each class. With any other number its value is meaningless,
    which is reported as an error wherever the reference labels are known.

    Args:
        margin: m, in radians. Defaults to 0.5, as in the paper.
        scale: s. Defaults to 64, as in the paper.
        proxies_per_class: K. Defaults to 3, as in the paper.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `margin` is not from 0 to below π/2, `scale` or `proxies_per_class` is not
            positive, or, when called, without references or if there are not `proxies_per_class`
            references of a class.

    Example:

    >>> loss = SubCenterArcFace(margin=0.0, scale=1.0, proxies_per_class=2)
    >>> proxies = np.array([[1.0, 0.0], [0.0, -1.0], [0.0, 1.0], [-1.0, 0.0]], "float32")
    >>> embeddings, labels = proxies[:1], np.array([0])
    >>> value = loss(labels, embeddings, references=proxies, reference_labels=[0, 0, 1, 1])
    >>> round(float(value), 4)  # log(1 + e^(0 - 1))
    0.3133
    """

    def __init__(
        self,
        margin: float = 0.5,
        scale: float = 64.0,
        proxies_per_class: int = 3,
        **kwargs,
    ):
        super().__init__(margin, scale, proxies_per_class=proxies_per_class, **kwargs)

    def labeled_loss(self, embeddings, references, pairs, seed):
        group = self.group_references(pairs.reference_labels)
        positives, negatives = group(pairs.positives), group(pairs.negatives)
        is_own, is_other = ops.any(positives, axis=-1), ops.any(negatives, axis=-1)
        similarities = group(inner_products(embeddings, references))
        paired = ops.logical_or(positives, negatives)
        nearest = ops.max(ops.where(paired, similarities, -1e30), axis=-1)
        nearest = ops.where(ops.logical_or(is_own, is_other), nearest, 0.0)
        logits = self.scale * nearest
        if pairs.negative_counts is not None:
            counts = group(ops.cast(pairs.negative_counts, logits.dtype)[None])[:, :, 0]
            logits += ops.log(counts)
        return self.cross_entropy(nearest, logits, is_own, is_other)
