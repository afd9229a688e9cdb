"""Proxy NCA++ loss."""

import keras
from keras import ops

from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss, log_sum_exp, mean_where


@keras.saving.register_keras_serializable("ccp_dml")
class ProxyNCA(PairwiseLoss):
    """Proxy NCA++ (Teh et al., ECCV 2020): the probability of the sample's own class.

    The mean over the samples of `−log Σ_P softmax(S/T)`, the softmax over a sample's positive and
    negative references, S the inner product of normalised vectors. Samples without a positive
    reference are left out.

    The paper has one proxy a class. With several, it is enough that a sample is close to one of its
    class (see `NormalizedSoftmax`, which wants it close to all). In a batch without references it
    is neighbourhood component analysis.

    Args:
        temperature: T. Defaults to 0.1.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive.

    Example:

    >>> loss = ProxyNCA(temperature=1.0)
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    >>> labels = np.array([0, 1])
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels)
    >>> round(float(value), 4)
    0.3133
    """

    def __init__(self, temperature: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0; got {temperature}")
        self.temperature = temperature

    @property
    def is_proxy_loss(self):
        return True

    def pairs_loss(self, embeddings, references, positives, negatives):
        logits = inner_products(embeddings, references) / self.temperature
        # −log(Σ_P / (Σ_P + Σ_N)) = log(1 + Σ_N / Σ_P)
        losses = ops.softplus(log_sum_exp(logits, negatives) - log_sum_exp(logits, positives))
        return mean_where(losses, ops.any(positives, axis=1))

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
