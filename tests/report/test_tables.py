"""Tables as a terminal and Markdown show them."""

import math

import pandas as pd
import pytest

from ccp_dml.report import format_estimate, markdown_table, metrics_table, terminal_table

CELLS = pd.DataFrame(
    {
        "name": ["small", "a|b"],
        "MAP@R": ["0.1897 ± 0.0068", "0.2"],
        "NMI": ["", ""],
        "method": ["plain", "ccp+xbm"],
    }
)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.18968, 0.00677), "0.1897 ± 0.0068"),
        ((0.18968, math.nan), "0.1897"),
        ((0.18968,), "0.1897"),
        ((0.01517, 0.0064, True), "+0.0152 ± 0.0064"),
        ((-0.01517, 0.0, True), "-0.0152 ± 0.0000"),
        ((math.nan, 0.1), ""),
        ((None,), ""),
    ],
)
def test_a_number_with_its_uncertainty(arguments, text):
    assert format_estimate(*arguments) == text


def test_the_terminal_shows_aligned_columns_and_no_empty_ones():
    assert terminal_table(CELLS).splitlines() == [
        "name             MAP@R  method",
        "-----  ---------------  -------",
        "small  0.1897 ± 0.0068  plain",
        "a|b                0.2  ccp+xbm",
    ]


def test_markdown():
    assert markdown_table(CELLS).splitlines() == [
        "| name | MAP@R | method |",
        "| --- | ---: | --- |",
        "| small | 0.1897 ± 0.0068 | plain |",
        "| a\\|b | 0.2 | ccp+xbm |",
    ]


def test_metrics_of_a_run():
    rows = {
        "before": {"map_at_r": 0.12345, "steps": 0, "seconds": 0.0},
        "ccp": {"map_at_r": 0.5, "steps": 2000, "seconds": 21.6},
    }
    columns = {"map_at_r": "MAP@R", "nmi": "NMI", "steps": "steps", "seconds": "seconds"}
    assert metrics_table("on unseen classes", rows, columns).splitlines() == [
        "| on unseen classes | MAP@R | steps | seconds |",
        "| --- | ---: | ---: | ---: |",
        "| before | 0.1235 | 0 | 0 |",
        "| ccp | 0.5000 | 2000 | 22 |",
    ]
