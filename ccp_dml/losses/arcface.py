"""ArcFace: a margin in the angle."""

import math

import keras
import numpy as np
from keras import ops

from ccp_dml.checks import check_below
from ccp_dml.losses.margin_softmax import MarginSoftmaxLoss


@keras.saving.register_keras_serializable("ccp_dml")
class ArcFace(MarginSoftmaxLoss):
    """ArcFace (Deng et al., CVPR 2019): a softmax with an angular margin for a sample's class.

    The mean over the positive pairs of `−log(e^{s·cos(θ_P + m)} / (e^{s·cos(θ_P + m)} + Σ_N
    e^{s·S_N}))`, N the anchor's negatives, S the inner product of normalised vectors and `cos θ =
    S`. Where `θ + m` exceeds π, `cos θ − m·sin m` replaces `cos(θ + m)`, which would increase
    again; the authors' code and pytorch-metric-learning do the same. With `negative_counts` the sum
    is unbiased, but its logarithm is too small on average.

    The paper uses one proxy per class. With several, as in rounds of CCP, each of them is pulled
    against all proxies of other classes (`SubCenterArcFace` takes the nearest). Within a batch,
    without references, the other samples of the class stand for the proxy. If all vectors lie
    within small angles of each other, as those of an untrained network may, a margin larger than
    these angles pulls a class together more strongly than its negatives push it apart, and all
    classes collapse. Among samples, and against proxies that are samples, therefore begin with a
    small margin, such as 0.1. The warm-up of CCP, whose loss is among samples, is an example: on
    scikit-learn's digits and from random weights (`experiments/digits.flags`), 100 steps of it with
    the default margin shrink the spread of the embeddings to a third, whatever the scale, and after
    300 steps MAP@R of held-out samples is .33; it is .90 without warm-up, and .95 with a margin of
    0.1.

    Near 0 and π the derivative of sin θ is infinite. Angles that are dominated by rounding, below a
    thousandth in float32, count as 0 there.

    Args:
        margin: m, in radians. Defaults to 0.5, as in the paper (28.6 degrees).
        scale: s. Defaults to 64, as in the paper.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `margin` is not from 0 to below π/2, or `scale` is not positive.

    Example:

    >>> loss = ArcFace(margin=0.5, scale=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)  # log(1 + e^(0 - cos 0.5))
    0.3477
    """

    def __init__(self, margin: float = 0.5, scale: float = 64.0, **kwargs):
        super().__init__(margin, scale, **kwargs)
        check_below("margin in radians", margin, math.pi / 2)

    def add_margin(self, similarities):
        rounding = 8.0 * float(np.finfo(keras.backend.standardize_dtype(similarities.dtype)).eps)
        squares = 1.0 - ops.square(similarities)
        has_sine = squares > rounding
        sines = ops.where(has_sine, ops.sqrt(ops.where(has_sine, squares, 1.0)), 0.0)
        cosine, sine = math.cos(self.margin), math.sin(self.margin)
        return ops.where(
            similarities >= -cosine,
            similarities * cosine - sines * sine,
            similarities - self.margin * sine,
        )
