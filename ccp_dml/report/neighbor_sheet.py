"""A figure of images and their neighbours."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

_RIGHT, _WRONG, _UNKNOWN = "#2c9f74", "#d2504b", "#7f8489"
# In inches: the side of a tile, the steps from tile to tile and from row to row, the margin around
# the figure, and the gap after the query.
_SIDE, _STEP, _ROW, _MARGIN, _GAP = 1.25, 1.35, 1.95, 0.1, 0.2
# In characters and lines.
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
    width, height = _MARGIN + columns * _STEP + _GAP, len(rows) * _ROW
    figure = Figure(figsize=(width, height))
    # A single panel, in inches from the top left: matplotlib takes seconds to lay out a hundred.
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set(xlim=(0, width), ylim=(height, 0))
    panel.set_axis_off()
    for row, tiles in enumerate(rows):
        for number, tile in enumerate(tiles):
            left = _MARGIN + number * _STEP + (_GAP if number else 0)
            _draw(panel, tile, left, row * _ROW + _MARGIN, is_query=number == 0)
    return figure


def _draw(panel, tile, left, top, is_query):
    shape = np.array([1, 1] if tile.image is None else tile.image.shape[:2])
    height, width = _SIDE / shape.max() * shape
    center, middle = left + _SIDE / 2, top + _SIDE / 2
    corner, bottom = (center - width / 2, middle - height / 2), middle + height / 2
    if tile.image is None:
        panel.text(center, middle, "no picture", ha="center", va="center", fontsize=7, c=_UNKNOWN)
    else:
        extent = (corner[0], corner[0] + width, bottom, corner[1])
        panel.imshow(tile.image, cmap="gray", vmin=0, vmax=255, extent=extent)
    color = {True: _RIGHT, False: _WRONG, None: _UNKNOWN}[tile.is_right]
    known = tile.is_right is not None
    # Dashes are for readers who cannot distinguish the colours.
    style = "--" if tile.is_right is False else "-"
    color = "black" if is_query else color
    line = {"color": color, "linewidth": 2.5 if known else 1, "linestyle": style}
    panel.add_patch(Rectangle(corner, width, height, fill=False, **line))
    # File names need not be Unicode, and may contain dollar signs, which matplotlib would take for
    # mathematics.
    caption = tile.caption.encode(errors="replace").decode()
    text = _wrap(caption)
    is_short = max(map(len, text.splitlines()), default=0) <= _SHORT
    size = 9.5 if is_short else 6.5
    place = (center, bottom + _MARGIN / 2)
    panel.text(*place, text, ha="center", va="top", fontsize=size, parse_math=False)


def _wrap(caption):
    lines = [
        piece
        for line in caption.splitlines()
        for piece in textwrap.wrap(line, _WIDTH, break_on_hyphens=False) or [""]
    ]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"…{lines[-1]}"]
    return "\n".join(lines)
