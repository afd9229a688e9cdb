"""Objects from identifiers: names, as on the command line and in `compile`, and configs."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from ccp_dml.checks import check_parameters, suggest

_PACKAGE = "ccp_dml"


def parameters(cls: type) -> list[str]:
    """Returns the names of a class's own parameters, without those of its base class.

    Args:
        cls: A class of losses or miners.
    """
    names = inspect.signature(cls).parameters
    return [name for name in names if name not in ("loss", "kwargs")]


def unpack(
    classes: Mapping[str, type], identifier: Any, params: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Turns the config of one of several classes into its name and its parameters.

    Args:
        classes: The classes by name.
        identifier: Anything; a config is a mapping with the keys `"class_name"` and `"config"`,
            as Keras serializes objects.
        params: Parameters given in addition to the identifier.

    Returns:
        The name and the parameters; anything that is not the config of such a class is returned as
        it is.
    """
    if not params and isinstance(identifier, Mapping):
        class_name = identifier.get("class_name")
        if identifier.get("registered_name") in (None, f"{_PACKAGE}>{class_name}"):
            for name, cls in classes.items():
                if cls.__name__ == class_name:
                    return name, dict(identifier.get("config") or {})
    return identifier, dict(params)


def get(
    kind: str,
    base: type,
    classes: Mapping[str, type],
    identifier: Any,
    params: Mapping[str, Any],
    is_valid: Callable[[Any], bool] | None = None,
) -> Any:
    """Returns the object for an identifier.

    Args:
        kind: What the objects are, for messages.
        base: Their base class.
        classes: Subclasses of it by name.
        identifier: A key of `classes`; the config of an object, as Keras serializes it; or an
            object, which is returned as it is.
        params: Arguments of the class, if it is given by name.
        is_valid: Function that returns whether an object is valid. Defaults to `None`: instances of
            the base class are.

    Raises:
        ValueError: If the identifier or a parameter is unknown; the message lists the known ones.
    """
    name, params = unpack(classes, identifier, params)
    if isinstance(name, str):
        if name not in classes:
            raise ValueError(
                f"unknown {kind} {name!r}; the choices are {', '.join(classes)}"
                f"{suggest(name, classes)}"
            )
        check_parameters(name, params, _accepted_parameters(classes[name], base))
        return classes[name](**params)
    if params:
        raise ValueError(
            f"only a {kind} given by name takes parameters; got {', '.join(params)} "
            f"for {identifier!r}"
        )
    found = _deserialize(kind, identifier) if isinstance(identifier, Mapping) else identifier
    if not (isinstance(found, base) if is_valid is None else is_valid(found)):
        raise ValueError(
            f"{kind} must be a {base.__name__}, its config or one of the names "
            f"{', '.join(classes)}; got {identifier!r}"
        )
    return found


def load(kind: str, address: str, form: str = "module:name") -> Any:
    """Loads an object from a module by name.

    Args:
        kind: What it is, for the message.
        address: `"module:name"`.
        form: How the message describes addresses. Defaults to `"module:name"`.

    Raises:
        ValueError: If there is no such module, or nothing of that name in it.

    Example:

    >>> load("function", "math:hypot")(3.0, 4.0)
    5.0
    """
    module, _, name = address.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{kind} {address!r} must be of the form {form} and importable: "
            f"{' '.join(str(error).split())}"
        ) from error


def make(kind: str, base: type, address: str, params: Mapping[str, Any]) -> Any:
    """Makes an object with a user's class or function.

    Args:
        kind: What the objects are, for messages.
        base: Their base class.
        address: `"module:Class"`, or a function that returns such an object.
        params: Its arguments by name.

    Raises:
        ValueError: If there is no such class, if it does not take the parameters, or if it returns
            something else.
    """
    factory = load(kind, address, "module:Class")
    if not callable(factory):
        raise ValueError(f"{kind} {address!r} must be a class or a function; got {factory!r}")
    taken = inspect.signature(factory).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        check_parameters(address, params, taken)
    try:
        made = factory(**params)
    except TypeError as error:
        raise ValueError(f"{kind} {address!r} cannot be made: {error}") from error
    if not isinstance(made, base):
        raise ValueError(f"{kind} {address!r} must be a {base.__name__}; got {made!r}")
    return made


def _accepted_parameters(cls, base):
    """Returns the parameters of a class and its base class, and `loss` if it is a wrapper."""
    wrapped = [name for name in inspect.signature(cls).parameters if name == "loss"]
    return [*parameters(cls), *inspect.signature(base).parameters, *wrapped]


def _deserialize(kind, config):
    try:
        return keras.saving.deserialize_keras_object(dict(config))
    except TypeError as error:
        raise ValueError(f"{kind} {dict(config)} cannot be deserialized: {error}") from error
