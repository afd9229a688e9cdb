"""Checks of arguments, with messages that repeat the value and say what is allowed."""

import difflib
import math
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any


def check_at_least(name: str, value: float | None, least: float, optional: bool = False):
    """Checks an inclusive lower bound.

    Args:
        name: Name of the argument, for the message.
        value: The number.
        least: The smallest number allowed.
        optional: Whether `None` is allowed too. Defaults to `False`.

    Raises:
        ValueError: If the number is smaller, or NaN.

    Example:

    >>> check_at_least("patience", 0, 1)
    Traceback (most recent call last):
    ...
    ValueError: patience must be at least 1; got 0
    """
    _check(name, value, f"at least {least}", optional, lambda number: number >= least)


def check_at_most(name: str, value: float | None, most: float, optional: bool = False):
    """Checks an inclusive upper bound; see `check_at_least`."""
    _check(name, value, f"at most {most}", optional, lambda number: number <= most)


def check_above(name: str, value: float | None, bound: float, optional: bool = False):
    """Checks an exclusive lower bound; see `check_at_least`."""
    _check(name, value, f"above {bound}", optional, lambda number: number > bound)


def check_below(name: str, value: float | None, bound: float, optional: bool = False):
    """Checks an exclusive upper bound; see `check_at_least`."""
    _check(name, value, f"below {bound}", optional, lambda number: number < bound)


def check_finite(name: str, value: float):
    """Checks that a number is neither infinite nor NaN.

    Args:
        name: Name of the argument, for the message.
        value: The number.

    Raises:
        ValueError: If it is infinite or NaN.
    """
    _check(name, value, "finite", False, math.isfinite)


def check_fraction(name: str, value: float):
    """Checks that a number is between 0 and 1, both exclusive.

    Args:
        name: Name of the argument, for the message.
        value: The number.

    Raises:
        ValueError: If it is not.
    """
    _check(name, value, "between 0 and 1", False, lambda number: 0 < number < 1)


def check_whole_number(name: str, value: float, least: int, most: int | None = None) -> int:
    """Checks a whole number, which may be a float, as all parameters on the command line are.

    Args:
        name: Name of the argument, for the message.
        value: The number.
        least: The smallest number allowed.
        most: The largest number allowed. Defaults to `None`: any.

    Returns:
        The number as an integer.

    Raises:
        ValueError: If it is not a whole number, or out of range.

    Example:

    >>> check_whole_number("classes", 3.0, least=1)
    3
    """
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
    in_range = value >= least and (most is None or value <= most)
    _check(
        name, value, f"a whole number {allowed}", False, lambda number: number % 1 == 0 and in_range
    )
    return int(value)


def check_one_of(name: str, value: Any, choices: Collection[str]):
    """Checks that a value is one of several names.

    Args:
        name: Name of the argument, for the message.
        value: The value.
        choices: The names allowed.

    Raises:
        ValueError: If it is none of them.

    Example:

    >>> check_one_of("pooling", "min", ("average", "max"))
    Traceback (most recent call last):
    ...
    ValueError: pooling must be one of average, max; got 'min'
    >>> check_one_of("pooling", "avarage", ("average", "max"))
    Traceback (most recent call last):
    ...
    ValueError: pooling must be one of average, max; got 'avarage': did you mean average?
    """
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}; got {value!r}{suggest(value, choices)}"
        )


def check_one_line(name: str, value: str):
    r"""Checks that a text fits in a line of a flagfile.

    Args:
        name: Name of the argument, for the message.
        value: The text.

    Raises:
        ValueError: If it has a line break.

    Example:

    >>> check_one_line("data_dir", "/data/my\nimages")
    Traceback (most recent call last):
    ...
    ValueError: data_dir must be a single line, because settings are saved in lines; got
    '/data/my\nimages'
    """
    if len(f"{value}.".splitlines()) > 1:
        raise ValueError(
            f"{name} must be a single line, because settings are saved in lines; got {value!r}"
        )


def suggest(value: Any, choices: Iterable[str]) -> str:
    """Suggests what may have been meant, for the end of a message.

    Args:
        value: What was given.
        choices: The names allowed.

    Returns:
        A question with up to three names of similar spelling, closest first, or an empty string.

    Example:

    >>> "got 'resnet5'" + suggest("resnet5", ["VGG16", "ResNet50", "ResNet101"])
    "got 'resnet5': did you mean ResNet50 or ResNet101?"
    """
    if not isinstance(value, str):
        return ""
    # Several names may differ only in upper and lower case.
    spellings = [(choice.casefold(), choice) for choice in choices]
    close = difflib.get_close_matches(value.casefold(), dict.fromkeys(low for low, _ in spellings))
    names = [choice for match in close for low, choice in spellings if low == match][:3]
    if not names:
        return ""
    first = f"{', '.join(names[:-1])} or " if len(names) > 1 else ""
    return f": did you mean {first}{names[-1]}?"


def check_parameters(owner: str, params: Iterable[str], known: Collection[str]):
    """Checks that parameters are known.

    Args:
        owner: Name of what takes the parameters, for the message.
        params: Names of the parameters.
        known: Names of the parameters that it takes.

    Raises:
        ValueError: If one is not among them.

    Example:

    >>> check_parameters("triplet", ["beta"], ["margin"])
    Traceback (most recent call last):
    ...
    ValueError: triplet has no parameter 'beta'; it takes margin
    """
    for param in params:
        if param not in known:
            takes = ", ".join(known) or "none"
            raise ValueError(
                f"{owner} has no parameter {param!r}; it takes {takes}{suggest(param, known)}"
            )


def list_first(items: Iterable[Any], count: int, separator: str = ", ") -> str:
    """Lists the first of several items in a message, and says how many more there are.

    Args:
        items: The items.
        count: Number of items to list.
        separator: What stands between them. Defaults to a comma.

    Returns:
        The list.

    Example:

    >>> list_first(["a", "b", "c", "d"], 2), list_first(["a", "b"], 2)
    ('a, b and 2 more', 'a, b')
    """
    items = list(items)
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return separator.join(map(str, items[:count])) + more


def printable(text: str) -> str:
    r"""Makes a file name printable in a line of text.

    Args:
        text: The name.

    Returns:
        The name, with escapes for what would end the line, such as a line feed, and for bytes that
        are not Unicode.

    Example:

    >>> printable("café\n.jpg")
    'café\\n.jpg'
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNPRINTABLE
        else char
        for char in text
    )


# Control characters, surrogates, and separators of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def _check(name, value, allowed, optional, is_valid):
    if optional and value is None:
        return
    if not is_valid(value):
        raise ValueError(f"{name} must be {allowed}{' or None' if optional else ''}; got {value}")
