"""Base class of losses that divide similarities by a temperature."""

from ccp_dml.checks import check_above
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss


class TemperatureLoss(PairwiseLoss):
    """Base class of losses computed from the logits S/T, S the inner product of normalised vectors.

    Args:
        temperature: T. Defaults to 0.1.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive.
    """

    def __init__(self, temperature: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        check_above("temperature", temperature, 0)
        self.temperature = temperature

    def logits(self, embeddings, references):
        """S/T of anchors `(n, d)` and references `(r, d)`: `(n, r)`."""
        return inner_products(embeddings, references) / self.temperature

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
