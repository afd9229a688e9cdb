"""Tables of metrics."""


def metrics_table(title: str, rows: dict[str, dict], columns: dict[str, str]) -> str:
    """Metrics as a Markdown table.

    Args:
        title: Of the first column.
        rows: Numbers by name, for each row. Floats are shown with four digits but for seconds.
        columns: Titles by name; names that no row has are left out.
    """
    present = {name for row in rows.values() for name in row}
    shown = {name: heading for name, heading in columns.items() if name in present}
    lines = [
        f"| {title} | {' | '.join(shown.values())} |",
        "| --- |" + " ---: |" * len(shown),
    ]
    for name, row in rows.items():
        cells = (
            f"{row[key]:.4f}"
            if isinstance(row[key], float) and key != "seconds"
            else f"{row[key]:.0f}"
            for key in shown
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
