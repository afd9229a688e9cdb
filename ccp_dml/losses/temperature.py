"""Base class of losses that divide similarities by a temperature."""

from ccp_dml.checks import check_above, check_one_of
from ccp_dml.losses.distances import inner_products
from ccp_dml.losses.pairwise import PairwiseLoss
from ccp_dml.losses.reductions import ANCHOR_REDUCTIONS


class TemperatureLoss(PairwiseLoss):
    """Base class of losses computed from the logits S/T, S the inner product of normalised vectors.

    Args:
        temperature: T. Defaults to 0.1.
        reduction: A key of `reductions`. Defaults to `"per_anchor"`.
        **kwargs: See `PairwiseLoss`.

    Raises:
        ValueError: If `temperature` is not positive, or `reduction` is unknown.

    Attributes:
        reductions: Functions by name that combine the values of anchors or pairs.
    """

    reductions = ANCHOR_REDUCTIONS

    def __init__(self, temperature: float = 0.1, reduction: str = "per_anchor", **kwargs):
        super().__init__(**kwargs)
        check_above("temperature", temperature, 0)
        check_one_of("reduction", reduction, self.reductions)
        self.temperature = temperature
        self.reduction = reduction

    def logits(self, embeddings, references):
        """S/T of anchors `(n, d)` and references `(r, d)`: `(n, r)`."""
        return inner_products(embeddings, references) / self.temperature

    def reduce(self, values, mask, pairs):
        """Combines values into a scalar by `reductions[reduction]`."""
        return self.reductions[self.reduction](values, mask, pairs)

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "reduction": self.reduction,
        }
