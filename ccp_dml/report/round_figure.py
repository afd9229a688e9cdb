"""The figure of the rounds: samples, converged proxies and next proxies in a 2-d embedding."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ccp_dml.layers import lipschitz_normalize
from ccp_dml.projections import RoundSnapshot


def draw_rounds(snapshots: list[RoundSnapshot]) -> Figure:
    """Draws the ends of rounds side by side, after Figure 1 of the CCP paper.

    Each panel shows the end of a round; the first round ends where a proxy loss without CCP would.

    Args:
        snapshots: The rounds, in order, at least one.

    Returns:
        A matplotlib figure, to be saved with `savefig`.

    Raises:
        ValueError: If there is no snapshot.
    """
    if not snapshots:
        raise ValueError("no round has ended: there is nothing to draw")
    figure = Figure(figsize=(4.2 * len(snapshots), 4.9), layout="constrained")
    for panel, snapshot in zip(
        figure.subplots(1, len(snapshots), squeeze=False)[0], snapshots, strict=True
    ):
        _draw(panel, snapshot)
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _draw(panel, snapshot):
    end = snapshot.end
    colors = matplotlib.colormaps["tab10" if len(end.proxies) <= 10 else "hsv"]
    shades = [
        colors(index if len(end.proxies) <= 10 else index / len(end.proxies))
        for index in range(len(end.proxies))
    ]
    panel.scatter(
        *snapshot.embeddings.T,
        c=[shades[label] for label in snapshot.labels],
        s=8,
        alpha=0.35,
        linewidths=0,
        label="samples",
    )
    for proxies, style in [
        (end.proxies, {"marker": "o", "s": 55, "label": "converged proxies"}),
        (end.next_proxies, {"marker": "*", "s": 130, "label": "next proxies"}),
    ]:
        points = np.asarray(lipschitz_normalize(proxies))
        panel.scatter(
            *points.reshape(-1, 2).T,
            c=[
                shade
                for shade, class_points in zip(shades, points, strict=True)
                for _ in class_points
            ],
            edgecolors="black",
            linewidths=0.8,
            **style,
        )
    name = "without CCP" if end.round == 0 else "CCP"
    panel.set_title(
        f"{name}: end of round {end.round}\n"
        f"covering radius {end.covering_radius:.2f}, next {end.next_covering_radius:.2f}"
    )
    panel.set_aspect("equal")
    panel.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    panel.add_artist(Circle((0, 0), 1, fill=False, color="0.8", zorder=0))
