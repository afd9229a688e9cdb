"""Tables of metrics, for terminals and in Markdown."""

import math
from collections.abc import Mapping

import pandas as pd

# Titles of columns with text; the others have numbers.
LEFT_COLUMNS = ("name", "method", "minus", "embedding", "query", "path", "label")


def format_estimate(mean: float, half_width: float = math.nan, signed: bool = False) -> str:
    """Formats a number with its uncertainty, such as `0.1897 ± 0.0068`.

    Args:
        mean: The number; a missing one gives an empty text.
        half_width: The number after ±. Defaults to NaN: none.
        signed: Whether positive numbers have a sign. Defaults to `False`.

    Example:

    >>> format_estimate(0.01517, 0.0064, signed=True)
    '+0.0152 ± 0.0064'
    """
    if pd.isna(mean):
        return ""
    text = f"{mean:+.4f}" if signed else f"{mean:.4f}"
    return text if pd.isna(half_width) else f"{text} ± {half_width:.4f}"


def terminal_table(cells: pd.DataFrame) -> str:
    """Formats a table for a terminal, aligned by spaces, without its empty columns.

    Args:
        cells: Texts. `LEFT_COLUMNS` are aligned left, the others right.
    """
    shown = _without_empty_columns(cells)
    columns = []
    for title in shown:
        texts = [title, *shown[title]]
        width = max(map(len, texts))
        texts.insert(1, "-" * width)
        align = str.ljust if title in LEFT_COLUMNS else str.rjust
        columns.append([align(text, width) for text in texts])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def markdown_table(cells: pd.DataFrame) -> str:
    """Formats the same table in Markdown; see `terminal_table`."""
    shown = _without_empty_columns(cells).map(lambda text: text.replace("|", "\\|"))
    return _markdown(list(shown), shown.itertuples(index=False, name=None))


def metrics_table(title: str, rows: dict[str, dict], columns: dict[str, str]) -> str:
    """Formats metrics as a Markdown table; see `metrics_cells`."""
    cells = metrics_cells(title, rows, columns)
    return _markdown(list(cells), cells.itertuples(index=False, name=None), left_columns=[title])


def metrics_cells(
    title: str, rows: Mapping[str, Mapping], columns: Mapping[str, str]
) -> pd.DataFrame:
    """Formats metrics as texts.

    Args:
        title: Title of the first column, which has the names.
        rows: Numbers by name, for each row. Floats have four digits, except seconds.
        columns: Titles by name; names that no row has are left out.
    """
    present = {name for row in rows.values() for name in row}
    shown = {name: heading for name, heading in columns.items() if name in present}
    lines = []
    for name, row in rows.items():
        cells = (
            _format_number(row[key], decimals=0 if key == "seconds" else 4) if key in row else ""
            for key in shown
        )
        lines.append((name, *cells))
    return pd.DataFrame(lines, columns=[title, *shown.values()])


def _markdown(titles, rows, left_columns=LEFT_COLUMNS):
    rule = ["---" if title in left_columns else "---:" for title in titles]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))


def _without_empty_columns(cells):
    return cells.loc[:, (cells != "").any()]


def _format_number(number, decimals):
    return f"{number:.{decimals}f}" if isinstance(number, float) else str(number)
