"""Weighted sums of losses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from ccp_dml.checks import check_at_least, check_finite
from ccp_dml.losses.pairwise import PairwiseLoss


@keras.saving.register_keras_serializable("ccp_dml")
class WeightedSum(PairwiseLoss):
    """The sum `Σₖ wₖ Lₖ` of several losses of the same pairs.

    All of them see the same vectors and the same pairs: those of the batch, or, if one of them is a
    proxy loss, those of the samples and the proxies.

    Args:
        terms: Pairs of a `PairwiseLoss` and its weight.
        normalize: As in `PairwiseLoss`. Defaults to that of the losses.
        same_class: As in `PairwiseLoss`. Defaults to that of the losses.
        name: Name of the loss.

    Call arguments:
        Those of `PairwiseLoss`. The names of learned weights are followed by the position of the
        loss, from 1: the `boundaries` of the second loss are `boundaries_2`.

    Raises:
        ValueError: If there is no loss, one of them is not a pairwise loss, a weight is negative or
            not finite, or the losses contradict each other: in `normalize` or `same_class` where
            these are not given, or in the number of proxies per class that they need.

    Example:

    >>> from ccp_dml.losses import Contrastive, Triplet
    >>> embeddings, labels = np.array([[0.0], [0.5], [0.25]], "float32"), np.array([0, 0, 1])
    >>> contrastive, triplet = Contrastive(negative_margin=0.5), Triplet(margin=0.0)
    >>> [loss(labels, embeddings).numpy() for loss in (contrastive, triplet)]
    [np.float32(0.75), np.float32(0.25)]
    >>> WeightedSum([(contrastive, 1.0), (triplet, 2.0)])(labels, embeddings).numpy()
    np.float32(1.25)
    """

    def __init__(
        self,
        terms: Sequence[tuple[PairwiseLoss, float]],
        normalize: bool | None = None,
        same_class: Callable | Mapping[str, Any] | None = None,
        name: str | None = None,
    ):
        if not terms:
            raise ValueError(f"WeightedSum needs at least one loss and its weight; got {terms!r}")
        self.losses = [loss for loss, _ in terms]
        self.weights = [weight for _, weight in terms]
        for loss, weight in terms:
            if not isinstance(loss, PairwiseLoss):
                raise ValueError(f"WeightedSum adds PairwiseLosses; got {loss!r}")
            check_at_least(f"the weight of {type(loss).__name__}", weight, 0)
            check_finite(f"the weight of {type(loss).__name__}", weight)
        super().__init__(
            normalize=self._find_common("normalize") if normalize is None else normalize,
            same_class=self._find_common("same_class") if same_class is None else same_class,
            name=name,
        )
        self._proxies_per_class = self._find_common("proxies_per_class", ignored=None)

    def _find_common(self, name, ignored: Any = ...) -> Any:
        """Returns the common value of an attribute of all losses, except those to ignore."""
        values = [(getattr(loss, name), type(loss).__name__) for loss in self.losses]
        found = [value for value, _ in values if value is not ignored]
        if any(value != found[0] for value in found):
            differing = ", ".join(f"{value} for {loss}" for value, loss in values)
            raise ValueError(f"losses of a sum must agree in {name}; got {differing}")
        return found[0] if found else ignored

    @property
    def needs_references(self):
        return any(loss.needs_references for loss in self.losses)

    @property
    def is_proxy_loss(self):
        return any(loss.is_proxy_loss for loss in self.losses)

    @property
    def takes_triplets(self):
        return all(loss.takes_triplets for loss in self.losses)

    @property
    def proxies_per_class(self):
        return self._proxies_per_class

    def initial_weights(self, num_classes):
        return {
            f"{name}_{place}": values
            for place, loss in enumerate(self.losses, 1)
            for name, values in loss.initial_weights(num_classes).items()
        }

    def labeled_loss(self, embeddings, references, pairs, seed, miner=None, **weights):
        options = {} if miner is None else {"miner": miner}
        total = 0.0
        for place, (loss, weight) in enumerate(zip(self.losses, self.weights, strict=True), 1):
            suffix = f"_{place}"
            learned = [name for name in weights if name.endswith(suffix)]
            own = {name.removesuffix(suffix): weights.pop(name) for name in learned}
            value = loss.labeled_loss(embeddings, references, pairs, seed, **options, **own)
            total += weight * value
        if weights:
            raise TypeError(f"none of the losses of WeightedSum learns {', '.join(weights)}")
        return total

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        terms = [
            [serialize(loss), weight]
            for loss, weight in zip(self.losses, self.weights, strict=True)
        ]
        return {**super().get_config(), "terms": terms}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        terms = [(deserialize(loss), weight) for loss, weight in config["terms"]]
        return cls(**{**config, "terms": terms})
