"""References in groups of one class each."""

from collections.abc import Callable

from keras import ops

from ccp_dml import backend
from ccp_dml.checks import check_whole_number


class SeveralProxies:
    """Mixin for losses that compare samples with the K proxies of each class together.

    They need exactly K references of each class. With any other number their value is meaningless,
    which is reported as an error wherever the reference labels are known.

    Args:
        *args: Those of the base class.
        proxies_per_class: K.
        **kwargs: Those of the base class.

    Raises:
        ValueError: If `proxies_per_class` is not a positive whole number.
    """

    def __init__(self, *args, proxies_per_class: int, **kwargs):
        super().__init__(*args, **kwargs)
        self._proxies_per_class = check_whole_number(
            "proxies_per_class", proxies_per_class, least=1
        )

    @property
    def needs_references(self) -> bool:
        return True

    @property
    def proxies_per_class(self) -> int:
        return self._proxies_per_class

    def group_references(self, reference_labels) -> Callable:
        """Returns a function that groups values of references by class; see `group_by_class`."""
        return group_by_class(reference_labels, self.proxies_per_class, type(self).__name__)

    def get_config(self):
        config = super().get_config()  # pyright: ignore[reportAttributeAccessIssue] (of a loss)
        return {**config, "proxies_per_class": self.proxies_per_class}


def group_by_class(reference_labels, per_class: int, owner: str) -> Callable:
    """Returns a function that groups values of references by their classes.

    Args:
        reference_labels: `(r,)`, with `per_class` references of each class, in any order.
        per_class: Number K of references per class.
        owner: The loss that needs them, for the message.

    Returns:
        A function from `(n, r)` to `(n, r / K, K)`, the classes in the order of their labels.

    Raises:
        ValueError: If a class has a different number of references, checked wherever the labels are
            known; or if the labels are not `(r,)`.
    """
    if len(reference_labels.shape) != 1:
        raise ValueError(
            f"{owner} needs one class number per reference, labels (r,); got labels of shape "
            f"{tuple(reference_labels.shape)}"
        )
    order = ops.argsort(reference_labels)
    sorted_labels = ops.take(reference_labels, order)
    known = backend.known_value(sorted_labels)
    if known is not None and (
        len(known) % per_class or (known[::per_class] != known[per_class - 1 :: per_class]).any()
    ):
        raise ValueError(
            f"{owner} needs {per_class} references of each class (proxies_per_class); got "
            f"references with the labels {known.tolist()}"
        )
    num_classes = ops.shape(sorted_labels)[0] // per_class

    def group(rows):
        shape = (ops.shape(rows)[0], num_classes, per_class)
        return ops.reshape(ops.take(rows, order, axis=1), shape)

    return group
