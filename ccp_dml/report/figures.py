"""Drawing of figures for a report."""

import base64
import contextlib
import html
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ccp_dml.report.page import Picture

# Legible on white and on black; they also differ in darkness, for readers who do not see colours.
_COLORS = (
    "#2f7fd0",
    "#dd7a14",
    "#2c9f74",
    "#a566d6",
    "#d2504b",
    "#1f9fb4",
    "#b0842b",
    "#d45d9f",
)
_STYLES = ("-", "--", "-.", ":")
# Baselines, in the colour of the text.
_REFERENCES = {"before": "-", "pooled_features": "--", "raw_pixels": ":"}
# Stands for the colour of the page's text, which differs between light and dark.
_INK = "#7f8489"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
}
# Largest number of names in a legend inside a panel, and the height of a line of other legends, in
# inches.
_MAX_INSIDE = 3
_LINE = 0.17
_PNG_DPI = 160
# In characters; hardly any PNG would be smaller.
_SMALL_SVG = 24_000
_JPEG_QUALITY = 75


def line_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns a colour and a dash pattern for each name, always the same for given names.

    Args:
        names: Names of methods and baselines, possibly preceded by a name of their runs and `": "`.
    """
    styles, methods = {}, 0
    for name in dict.fromkeys(names):
        reference = _REFERENCES.get(name.rpartition(": ")[2])
        if reference is None:
            color = _COLORS[methods % len(_COLORS)]
            styles[name] = {"color": color, "linestyle": _STYLES[methods // len(_COLORS) % 4]}
            methods += 1
        else:
            styles[name] = {"color": _INK, "linestyle": reference}
    return styles


@contextlib.contextmanager
def panel(description: str, height: float = 2.6) -> Iterator[Axes]:
    """Yields axes of a figure that fits a phone, and several in a row on a larger screen.

    Args:
        description: Description of the figure, which determines the ids inside it.
        height: Height in inches, at a width of 4.3.

    Yields:
        The axes to draw into.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": description}):
        yield Figure(figsize=(4.3, height), layout="constrained").subplots()


def add_legend(axes: Axes):
    """Adds a legend: inside the panel, or below it if there are many lines."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) <= _MAX_INSIDE:
        axes.legend()
        return
    # The whole figure, even if these axes are in a part of it.
    figure = axes.figure.figure
    figure.legend(handles, names, loc="outside lower center", ncols=2, handlelength=1.5)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + _LINE * ((len(names) + 1) // 2))


def to_picture(axes: Axes, description: str, caption: str) -> Picture:
    """Converts a panel to SVG or PNG, whichever is smaller; call it inside `panel`.

    Args:
        axes: The axes from `panel`.
        description: Text for readers who cannot see it.
        caption: What it shows and how to read it.
    """
    figure = axes.figure
    svg = _to_svg(figure, description)
    if len(svg) <= _SMALL_SVG:
        return Picture(description, caption, svg=svg)
    source = _data_uri(_to_png(figure), "png")
    if len(svg.encode()) <= len(source):
        return Picture(description, caption, svg=svg)
    return Picture(description, caption, source=source)


def _to_svg(figure, description):
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Drops the ids of groups, which occur in every figure, and the size, which the page sets.
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    opening = svg[: svg.index(">") + 1]
    sized = re.sub(r'\s(?:width|height|version)="[^"]*"', "", opening)
    label = html.escape(description, quote=True)
    svg = svg.replace(opening, f'{sized[:-1]} role="img" aria-label="{label}">', 1)
    svg = re.sub(r"\n\s*", "\n", svg.strip())
    # Styles that matplotlib sets for all elements would apply to the whole page.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    return svg.replace(_INK, "currentColor")


def _to_png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True, dpi=_PNG_DPI, metadata={"Software": None})
    return file.getvalue()


def encode_image(image: np.ndarray) -> str:
    """Returns an image as a data URI of PNG or JPEG, whichever is smaller.

    Args:
        image: uint8 `(height, width, 3)`, or `(height, width)` or `(height, width, 1)` for grey.
    """
    picture = Image.fromarray(image.squeeze(2) if image.shape[2:] == (1,) else image)
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "png", optimize=True)
    picture.save(jpeg, "jpeg", quality=_JPEG_QUALITY)
    if png.tell() <= jpeg.tell():
        return _data_uri(png.getvalue(), "png")
    return _data_uri(jpeg.getvalue(), "jpeg")


def embed_png(content: bytes) -> str:
    """Returns the bytes of a PNG file as a data URI."""
    return _data_uri(content, "png")


def _data_uri(content, kind):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def thin_out(count: int, most: int) -> np.ndarray:
    """Returns indices of a limited number of `count` values, including the first and the last.

    Args:
        count: Number of values.
        most: Largest number of values to keep, at least 2.

    Example:

    >>> thin_out(5, 3).tolist(), thin_out(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(int)
