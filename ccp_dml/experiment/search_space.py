"""The space of a search: settings with their ranges."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ccp_dml.checks import check_at_least, check_one_of, suggest
from ccp_dml.experiment.methods import make_loss
from ccp_dml.experiment.settings import SETTING_GROUPS, Settings

EXAMPLE = "learning_rate=log:1e-4:1e-2,proxies_per_class=int:1:16"
"""A space, for messages."""

KINDS = {
    "uniform": "numbers, all equally likely",
    "log": "numbers, all orders of magnitude equally likely",
    "int": "whole numbers, all equally likely",
    "log_int": "whole numbers, all orders of magnitude equally likely",
    "choice": "any of several values",
}
"""The ranges that a setting can have."""

_INTEGER_KINDS = ("int", "log_int")
# Settings that trials must share to be comparable, and those that no trial uses.
_FIXED_GROUPS = ("Data", "Measurement and figures", "Machine")
_FIXED = ("method", "seed", "monitor", "validation", "num_folds", "fold", "validation_fraction")
_SIGNIFICANT_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class SearchParameter:
    """A setting, or a parameter of the loss, the miner and so on, with its range.

    Attributes:
        name: Name of a setting, or of a parameter in a setting with several, such as
            `loss_params.margin`.
        kind: One of `KINDS`.
        bounds: The smallest and the largest number; empty for a choice.
        choices: The values of a choice; empty for the others.
        points: Number of its values in a grid; `None` if the range does not say.
    """

    name: str
    kind: str
    bounds: tuple[float, ...] = ()
    choices: tuple[bool | float | str, ...] = ()
    points: int | None = None

    @property
    def is_logarithmic(self) -> bool:
        """Whether orders of magnitude are equally likely."""
        return self.kind.startswith("log")

    @property
    def is_integer(self) -> bool:
        """Whether all of its values are whole numbers."""
        return self.kind in _INTEGER_KINDS

    def ends(self) -> tuple[bool | float | str, ...]:
        """The values to check for the whole range: both bounds, or every choice."""
        return self.choices or self.bounds

    def grid(self) -> list[bool | float | str]:
        """Returns the values of a grid, in order, including both bounds.

        Raises:
            ValueError: If the range does not say how many.
        """
        if self.choices:
            return list(self.choices)
        low, high = self.bounds
        if self.points is None and self.kind == "int":
            return list(range(int(low), int(high) + 1))
        if self.points is None:
            raise ValueError(
                f"tune_sampler=grid needs the number of values of {self.name}: "
                f"{self.name}={self.kind}:{low}:{high}:5 for five of them"
            )
        spaced = np.geomspace if self.is_logarithmic else np.linspace
        values = spaced(low, high, self.points).tolist()
        if self.is_integer:
            return list(dict.fromkeys(round(value) for value in values))
        between = (float(f"{value:.{_SIGNIFICANT_DIGITS}g}") for value in values[1:-1])
        return [low, *between, high]

    def grid_size(self) -> int:
        """Returns the number of values of a grid, without listing those between two bounds.

        Raises:
            ValueError: If the range does not say how many.
        """
        if self.points is None and self.kind == "int":
            low, high = self.bounds
            return int(high) - int(low) + 1
        return len(self.grid())


def parse_space(text: str) -> tuple[SearchParameter, ...]:
    """Parses the space of a search.

    Args:
        text: A comma-separated list of `name=uniform:low:high`, `name=log:low:high`,
            `name=int:low:high`, `name=log_int:low:high` and `name=choice:value|value|…`. The name
            is that of a setting, or of a parameter in one, such as `loss_params.margin`. Bounds may
            be followed by the number of values in a grid, `:points`.

    Raises:
        ValueError: If an item is not of this form, or its name is not that of a setting that can
            be searched; the message names the item.

    Example:

    >>> parse_space("round_patience=choice:1|2|4")[0].choices
    (1, 2, 4)
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise ValueError(
            "--tune_space is missing: name settings and their ranges, such as "
            f"--tune_space={EXAMPLE}"
        )
    parameters = tuple(_parse_item(item) for item in items)
    names = [parameter.name for parameter in parameters]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"tune_space must name each setting once; got {name} twice")
    return parameters


def _parse_item(item):
    name, has_range, range_text = (part.strip() for part in item.partition("="))
    if not has_range:
        raise ValueError(
            f"tune_space must be a comma-separated list of name=kind:low:high and "
            f"name=choice:value|value, such as {EXAMPLE}; got {item!r}"
        )
    value_type = _check_name(name)
    kind, _, rest = range_text.partition(":")
    check_one_of(f"tune_space, the kind of range of {name},", kind, KINDS)
    if kind == "choice":
        values = [value.strip() for value in rest.split("|")]
        choices = tuple(_parse_value(name, value, value_type) for value in values)
        if len(set(choices)) < len(choices):
            raise ValueError(f"tune_space must name each choice once; got {item!r}")
        return SearchParameter(name, kind, choices=choices)
    return _parse_range(name, kind, rest, value_type)


def _parse_range(name, kind, text, value_type):
    if value_type in (bool, str):
        raise ValueError(
            f"{name} has no range of numbers: give its values, {name}=choice:value|value"
        )
    if value_type is int and kind not in _INTEGER_KINDS:
        raise ValueError(
            f"{name} is a whole number, for which tune_space has int, log_int and choice; got "
            f"{kind}:{text}"
        )
    parts = text.split(":")
    number = int if kind in _INTEGER_KINDS else float
    try:
        bounds, points = tuple(map(number, parts[:2])), [int(part) for part in parts[2:]]
    except ValueError:
        bounds, points = (), []
    if len(bounds) < 2 or len(points) > 1 or not all(map(math.isfinite, bounds)):
        numbers = "whole numbers" if number is int else "numbers"
        raise ValueError(
            f"tune_space must give {name} as {kind}:low:high, {numbers}, or {kind}:low:high:points "
            f"for a grid; got {kind}:{text}"
        )
    low, high = bounds
    if low >= high:
        raise ValueError(f"tune_space must give {name} a low below its high; got {kind}:{text}")
    if kind.startswith("log") and low <= 0:
        raise ValueError(
            f"tune_space must give {name} a low above 0, because its range is logarithmic; got "
            f"{kind}:{text}"
        )
    for count in points:
        check_at_least(f"tune_space, the points of {name},", count, 2)
    return SearchParameter(name, kind, bounds, points=points[0] if points else None)


def _check_name(name):
    """Returns the type of a setting's values; `None` for a parameter, which may have several."""
    name, has_part, part = name.partition(".")
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    if name not in fields:
        raise ValueError(
            f"tune_space must name settings, as --help lists them; got {name!r}"
            f"{suggest(name, _searchable())}"
        )
    if name not in _searchable():
        raise ValueError(
            f"tune_space cannot vary {name}: it must be the same for all trials, because they are "
            "compared by it"
        )
    field = fields[name]
    if field.default_factory is dict:
        if not part:
            raise ValueError(
                f"{name} holds several numbers: tune_space must name one of them, as {name}.<name>"
            )
        return None
    if has_part:
        raise ValueError(f"{name} is a single value; got {name}.{part} in tune_space")
    if isinstance(field.default, tuple):
        raise ValueError(f"tune_space cannot vary {name}, which is a list")
    return type(field.default)


def _searchable():
    fixed = {
        field.name for group in _FIXED_GROUPS for field in dataclasses.fields(SETTING_GROUPS[group])
    }
    return [
        field.name
        for field in dataclasses.fields(Settings)
        if field.name not in fixed and field.name not in _FIXED
    ]


def _parse_value(name, text, value_type):
    try:
        if value_type is bool:
            return {"true": True, "false": False}[text.lower()]
        if value_type in (int, float):
            return value_type(text)
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "whole numbers", float: "numbers"}[value_type]
        raise ValueError(
            f"the choices of {name} in tune_space must be {kind}; got {text!r}"
        ) from None
    if not text:
        raise ValueError(f"the choices of {name} in tune_space must not be empty")
    if value_type is str:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def with_values(settings: Settings, values: Mapping[str, bool | float | str]) -> Settings:
    """Returns settings with some values replaced.

    Args:
        settings: The settings.
        values: Values by the names of `SearchParameter`.

    Raises:
        ValueError: If they do not fit each other; see `Settings`.
    """
    changes = {}
    for name, value in values.items():
        name, _, part = name.partition(".")
        if part:
            value = {**changes.get(name, getattr(settings, name)), part: value}
        changes[name] = value
    return dataclasses.replace(settings, **changes)


def check_space(space: Sequence[SearchParameter], settings: Settings):
    """Checks that settings allow the ends of all ranges and every choice.

    Args:
        space: The space of the search.
        settings: The settings that all trials share.

    Raises:
        ValueError: If they do not; the message names the setting and what is wrong.
    """
    first = {parameter.name: parameter.ends()[0] for parameter in space}
    for parameter in space:
        for value in parameter.ends():
            try:
                # This checks the parameters of the miner and the wrapper.
                make_loss(with_values(settings, {**first, parameter.name: value}))
            except ValueError as error:
                raise ValueError(f"tune_space, {parameter.name}={value}: {error}") from error


def grid_points(space: Sequence[SearchParameter]) -> list[dict[str, bool | float | str]]:
    """Returns all combinations of the values of a grid; the last parameter varies fastest.

    Raises:
        ValueError: If a range does not say how many values it has in a grid.
    """
    names = [parameter.name for parameter in space]
    grids = [parameter.grid() for parameter in space]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*grids)]


def count_grid_points(space: Sequence[SearchParameter]) -> int:
    """Returns the number of `grid_points`, without listing them, which may fill the memory."""
    return math.prod(parameter.grid_size() for parameter in space)
