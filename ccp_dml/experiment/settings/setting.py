"""A single setting: its default, its help text and its bounds."""

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from ccp_dml.checks import (
    check_above,
    check_at_least,
    check_at_most,
    check_below,
    check_finite,
    check_one_line,
    check_one_of,
    check_parameters,
)

# Far more than is useful, but few enough for memory.
LARGEST_COUNT = 65_536


def setting(default: Any, help: str, **bounds: Any) -> Any:
    """A field with a help text and, optionally, `choices`, `least`, `above`, `most`, `below`.

    They apply to each item of a tuple, which may also have a `length`.
    """
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


def params(owner: str, example: str, words: bool = False) -> Any:
    """A field for the parameters of something with a name: numbers and, where allowed, words."""
    help_text = f"Parameters of {owner} that differ from its defaults, such as {example}."
    return dataclasses.field(default_factory=dict, metadata={"help": help_text, "words": words})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingGroup:
    """Settings that belong together.

    Every group checks in its `__post_init__`, after that of its base, whether its settings fit
    together.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind = numbers.Real if isinstance(field.default, float) else type(field.default)
            if field.default is not dataclasses.MISSING and not isinstance(value, kind):
                raise ValueError(f"{field.name} must be of type {kind.__name__}; got {value!r}")
            check_value(field.name, value, field.metadata)


def check_numbers(name: str, numbers_by_name: Any):
    """Checks a setting of numbers by name."""
    if not isinstance(numbers_by_name, Mapping) or not all(
        isinstance(value, numbers.Real) for value in numbers_by_name.values()
    ):
        raise ValueError(f"{name} must be numbers by name; got {numbers_by_name!r}")


def check_numbers_or_words(owner: str, params: Mapping[str, Any]):
    """Checks the parameters of something whose parameters are unknown."""
    for param, value in params.items():
        if not isinstance(value, str | numbers.Real):
            raise ValueError(f"{param} of {owner} must be a number or a word; got {value!r}")
        check_value(param, value, {})


def check_params(owner: str, params: Any, known: Sequence[str]):
    """Checks the parameters of something, which must be numbers with names in `known`."""
    check_numbers(f"parameters of {owner}", params)
    check_parameters(owner, params, known)
    for param, value in params.items():
        check_value(param, value, {})


def check_value(name: str, value: Any, metadata: Mapping[str, Any]):
    """Checks a value, or each of a tuple, against the bounds that `setting` was given."""
    if "length" in metadata and (
        len(value) != metadata["length"]
        or not all(isinstance(each, numbers.Real) for each in value)
    ):
        given = ",".join(map(str, value))
        raise ValueError(f"{name} must be {metadata['length']} numbers; got {given}")
    for each in value if isinstance(value, tuple) else [value]:
        _check_one(name, each, metadata)


def _check_one(name, value, metadata):
    if "choices" in metadata:
        check_one_of(name, value, metadata["choices"])
    if isinstance(value, float):
        check_finite(name, value)
    if isinstance(value, str):
        check_one_line(name, value)
    for bound, check in _BOUND_CHECKS.items():
        if bound in metadata:
            check(name, value, metadata[bound])


_BOUND_CHECKS = {
    "least": check_at_least,
    "most": check_at_most,
    "below": check_below,
    "above": check_above,
}
