"""A figure of images and their neighbours."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

_RIGHT, _WRONG, _UNKNOWN = "#2c9f74", "#d2504b", "#7f8489"
_WIDTH = 18
_LINES = 3
# Captions that fit below a tile in larger letters.
_SHORT = 14


class Tile(NamedTuple):
    """A small image.

    Attributes:
        image: uint8 `(height, width, 3)` or grey `(height, width)`; `None` if there is none.
        caption: The text below it.
        is_right: Whether it is a correct result, shown by its frame. Defaults to `None`: unknown.
    """

    image: np.ndarray | None
    caption: str
    is_right: bool | None = None


def draw_neighbors(rows: Sequence[Sequence[Tile]]) -> Figure:
    """Draws a row for each image: the image itself, a gap, and its neighbours.

    Right neighbours are framed green, wrong ones red and dashed.

    Args:
        rows: At least one, each with at least one tile.

    Returns:
        A matplotlib figure, to be saved with `savefig`.
    """
    columns = max(map(len, rows))
    figure = Figure(figsize=(1.35 * columns + 0.6, 1.95 * len(rows)), layout="constrained")
    widths = [1, 0.15, *[1] * (columns - 1)]
    panels = figure.subplots(
        len(rows), columns + 1, squeeze=False, gridspec_kw={"width_ratios": widths[: columns + 1]}
    )
    for row, tiles in zip(panels, rows, strict=True):
        row[1].set_axis_off()
        places = [row[0], *row[2:]]
        for place in places[len(tiles) :]:
            place.set_axis_off()
        for number, (place, tile) in enumerate(zip(places, tiles, strict=False)):
            _draw(place, tile, is_query=number == 0)
    return figure


def _draw(panel, tile, is_query):
    if tile.image is None:
        panel.text(0.5, 0.5, "no picture", ha="center", va="center", fontsize=7, color=_UNKNOWN)
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    else:
        panel.imshow(tile.image.squeeze(), cmap="gray", vmin=0, vmax=255)
    panel.set(xticks=[], yticks=[])
    color = {True: _RIGHT, False: _WRONG, None: _UNKNOWN}[tile.is_right]
    known = tile.is_right is not None
    # Dashes are for readers who cannot distinguish the colours.
    style = "--" if tile.is_right is False else "-"
    color = "black" if is_query else color
    panel.spines[:].set(color=color, linewidth=2.5 if known else 1, linestyle=style)
    # File names need not be Unicode, and may contain dollar signs, which matplotlib would take for
    # mathematics.
    caption = tile.caption.encode(errors="replace").decode()
    text = _wrap(caption)
    is_short = max(map(len, text.splitlines()), default=0) <= _SHORT
    panel.set_xlabel(text, fontsize=9.5 if is_short else 6.5, parse_math=False)


def _wrap(caption):
    lines = [
        piece
        for line in caption.splitlines()
        for piece in textwrap.wrap(line, _WIDTH, break_on_hyphens=False) or [""]
    ]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"…{lines[-1]}"]
    return "\n".join(lines)
