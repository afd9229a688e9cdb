import re

import pytest

from ccp_dml import checks

NAN = float("nan")


@pytest.mark.parametrize(
    ("check", "arguments", "valid", "invalid", "allowed"),
    [
        (checks.check_at_least, (2,), [2, 2.5], [1, -3.5, NAN], "at least 2"),
        (checks.check_at_most, (2,), [2, -1.5], [3, 2.1, NAN], "at most 2"),
        (checks.check_above, (2,), [2.1, 3], [2, 1, NAN], "above 2"),
        (checks.check_below, (2,), [1.9, 1], [2, 3, NAN], "below 2"),
        (checks.check_finite, (), [0, 1.5], [NAN, float("inf"), -float("inf")], "finite"),
        (checks.check_fraction, (), [0.1, 0.9], [0, 1, -0.5, NAN], "between 0 and 1"),
        (
            checks.check_whole_number,
            (1,),
            [1, 7.0],
            [0, 1.5, NAN, float("inf")],
            "a whole number of at least 1",
        ),
        (
            checks.check_whole_number,
            (1, 3),
            [1, 3.0],
            [0, 4, 2.5],
            "a whole number from 1 to 3",
        ),
        (checks.check_one_of, (("a", "b"),), ["a", "b"], ["c", "", None], "one of a, b"),
    ],
)
def test_messages_repeat_the_value_and_say_what_is_allowed(
    check, arguments, valid, invalid, allowed
):
    for value in valid:
        check("size", value, *arguments)
    for value in invalid:
        shown = repr(value) if check is checks.check_one_of else value
        message = re.escape(f"size must be {allowed}; got {shown}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            check("size", value, *arguments)


def test_none_is_allowed_where_it_is_optional():
    checks.check_above("size", None, 0, optional=True)
    with pytest.raises(ValueError, match=r"^size must be above 0 or None; got 0$"):
        checks.check_above("size", 0, 0, optional=True)


def test_whole_numbers_are_integers():
    assert isinstance(checks.check_whole_number("size", 4.0, 1), int)


def test_unknown_parameters_are_named():
    checks.check_parameters("loss", ["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"^loss has no parameter 'c'; it takes a, b$"):
        checks.check_parameters("loss", ["a", "c"], ["a", "b"])
    with pytest.raises(ValueError, match=r"^loss has no parameter 'a'; it takes none$"):
        checks.check_parameters("loss", ["a"], [])


def test_long_lists_are_cut():
    assert checks.list_first("abc", 3) == "a, b, c"
    assert checks.list_first("abcde", 3) == "a, b, c and 2 more"
    assert checks.list_first("abcde", 1, separator="; ") == "a and 4 more"
    assert checks.list_first([], 3) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("RESNET50", ": did you mean ResNet50, resnet50 or ResNet50V2?"),
        ("vgg_16", ": did you mean VGG16?"),
        ("zzz", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_suggestions(value, expected):
    assert checks.suggest(value, ["VGG16", "ResNet50", "resnet50", "ResNet50V2"]) == expected


def test_wrong_names_are_suggested():
    with pytest.raises(ValueError, match=r"one of area, side; got 'sied': did you mean side\?$"):
        checks.check_one_of("crop", "sied", ("area", "side"))
