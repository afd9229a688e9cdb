"""CosFace: a margin in the cosine."""

import keras

from ccp_dml.losses.margin_softmax import MarginSoftmaxLoss


@keras.saving.register_keras_serializable("ccp_dml")
class CosFace(MarginSoftmaxLoss):
    """CosFace (Wang et al., CVPR 2018): a softmax with a cosine margin for the sample's own class.

    The mean over the positive pairs of `−log(e^{s(S_P − m)} / (e^{s(S_P − m)} + Σ_N e^{s·S_N}))`, N
    the anchor's negatives, S the inner product of normalised vectors. With `negative_counts` the
    sum is unbiased, but its logarithm is too small on average.

    The paper uses one proxy per class. With several, as in rounds of CCP, each of them is pulled
    against all proxies of other classes. Within a batch, without references, the other samples of
    the class stand for the proxy.

    Args:
        margin: m. Defaults to 0.35, as in the paper.
        scale: s. Defaults to 64, as in the paper.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `margin` is negative or `scale` is not positive.

    Example:

    >>> loss = CosFace(margin=0.25, scale=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)  # log(1 + e^(0 - 0.75))
    0.3869
    """

    def __init__(self, margin: float = 0.35, scale: float = 64.0, **kwargs):
        super().__init__(margin, scale, **kwargs)

    def add_margin(self, similarities):
        return similarities - self.margin
