"""Objects from the names by which the command line and `compile` know them."""

import inspect
from collections.abc import Mapping
from typing import Any

from ccp_dml.checks import check_parameters


def parameters(cls: type) -> list[str]:
    """The numbers that a class takes, beside what all of its kind take.

    Args:
        cls: A class of losses or miners.
    """
    names = inspect.signature(cls).parameters
    return [name for name in names if name not in ("loss", "kwargs")]


def make(
    kind: str, classes: Mapping[str, type], name: str, params: Mapping[str, Any], common: list[str]
) -> Any:
    """Makes an object of a class that is known by a name.

    Args:
        kind: What the classes are, for messages.
        classes: The classes by name.
        name: A key of `classes`.
        params: Arguments of the class.
        common: Arguments that the class takes beside its `parameters`.

    Raises:
        ValueError: If the name or a parameter is unknown; the message lists the known ones.
    """
    if name not in classes:
        raise ValueError(f"unknown {kind} {name!r}; the choices are {', '.join(classes)}")
    check_parameters(name, params, [*parameters(classes[name]), *common])
    return classes[name](**params)
