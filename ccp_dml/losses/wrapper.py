"""Base class of losses that wrap another loss."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from ccp_dml.losses.pairwise import PairwiseLoss


class LossWrapper(PairwiseLoss):
    """Base class of losses that change the vectors or pairs another loss sees, or add to it.

    Subclasses implement `labeled_loss`, in which they call `self.loss.labeled_loss`.

    Args:
        loss: The `PairwiseLoss` to wrap.
        normalize: As in `PairwiseLoss`. Defaults to that of `loss`.
        same_class: As in `PairwiseLoss`. Defaults to that of `loss`.
        name: Name of the loss.

    Raises:
        ValueError: If `loss` is not a pairwise loss.
    """

    def __init__(
        self,
        loss: PairwiseLoss,
        normalize: bool | None = None,
        same_class: Callable | Mapping[str, Any] | None = None,
        name: str | None = None,
    ):
        if not isinstance(loss, PairwiseLoss):
            raise ValueError(f"{type(self).__name__} wraps a PairwiseLoss; got {loss!r}")
        super().__init__(
            normalize=loss.normalize if normalize is None else normalize,
            same_class=loss.same_class if same_class is None else same_class,
            name=name,
        )
        self.loss = loss

    @property
    def needs_references(self):
        return self.loss.needs_references

    @property
    def is_proxy_loss(self):
        return self.loss.is_proxy_loss

    @property
    def proxies_per_class(self):
        return self.loss.proxies_per_class

    def initial_weights(self, num_classes):
        return self.loss.initial_weights(num_classes)

    def get_config(self):
        return {**super().get_config(), "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


def require_one_reference_per_class(wrapper: LossWrapper):
    """Checks that the wrapped loss takes a single reference per class, like those the wrapper adds.

    Raises:
        ValueError: If it needs several.
    """
    if wrapper.loss.proxies_per_class not in (None, 1):
        raise ValueError(
            f"{type(wrapper).__name__} adds classes with a single reference, but "
            f"{type(wrapper.loss).__name__} needs {wrapper.loss.proxies_per_class} per class"
        )
