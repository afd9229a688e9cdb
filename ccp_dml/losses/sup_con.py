"""Supervised contrastive loss."""

import keras

from ccp_dml.losses.normalized_softmax import NormalizedSoftmax


@keras.saving.register_keras_serializable("ccp_dml")
class SupCon(NormalizedSoftmax):
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020), within a batch.

    The formula of `NormalizedSoftmax`, the mean over the samples of the mean over their positives
    of `−log softmax(S/T)`, with the paper's temperature, and by default among the samples of a
    batch rather than against proxies. It is the better of the paper's two forms, with the sum over
    positives outside the logarithm.

    Args:
        temperature: T. Defaults to 0.1, as in the paper.
        reduction: See `NormalizedSoftmax`. Defaults to `"per_anchor"`.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive, or `reduction` is unknown.

    Example:

    >>> loss = SupCon(temperature=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "float32")
    >>> round(float(loss(np.array([0, 0, 1]), embeddings)), 4)  # log((e + 1) / e)
    0.3133
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "per_anchor", **kwargs):
        super().__init__(temperature, reduction, **kwargs)

    @property
    def is_proxy_loss(self):
        return False
