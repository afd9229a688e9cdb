"""The section on recall@k."""

import re
from collections.abc import Mapping

from ccp_dml.report.figures import add_legend, line_styles, panel, to_picture
from ccp_dml.report.page import Section

_RECALL = re.compile(r"recall_at_(\d+)")


def recall_section(metrics: Mapping[str, Mapping[str, float]]) -> Section:
    """Makes the section with recall@k of each method and baseline over k.

    Args:
        metrics: Metrics of each of them; those named `recall_at_<k>` are drawn.
    """
    recalls = {name: _read_recalls(row) for name, row in metrics.items()}
    recalls = {name: row for name, row in recalls.items() if row}
    if not recalls:
        return Section("Recall", [])
    styles = line_styles(list(recalls))
    with panel("recall") as axes:
        for name, row in recalls.items():
            axes.plot(list(row), list(row.values()), marker=".", **styles[name], label=name)
        ticks = sorted({k for row in recalls.values() for k in row})
        axes.set(title="Recall@k", xlabel="k", xscale="log", ylim=(None, 1))
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
        add_legend(axes)
        picture = to_picture(
            axes,
            f"Recall at k of {', '.join(recalls)}.",
            "How many of the queries have an image of their class among the k nearest; higher is "
            "better, and the left end is P@1.",
        )
    return Section("Recall", [picture])


def _read_recalls(row):
    found = {
        int(match[1]): value for name, value in row.items() if (match := _RECALL.fullmatch(name))
    }
    return dict(sorted(found.items()))
