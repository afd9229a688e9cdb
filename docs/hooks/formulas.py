"""Draws formulas when the site is built, with matplotlib's mathtext.

Pages then need neither a script nor a font for them, and show them without a network. TeX that
mathtext does not know is a warning, and so an error of a strict build.
"""

import html
import logging
import re

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, text_to_path

# What pymdownx.arithmatex makes of $…$ and $$…$$.
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
UNITS = 100  # of the drawing, to the size of the text
SCALE = 1.1  # serif letters are smaller than those of the text beside them
log = logging.getLogger("mkdocs.hooks.formulas")


def on_page_content(content, page, config, files):
    """Replaces the formulas of a page by drawings."""

    def draw(match):
        tex = " ".join(html.unescape(match["tex"]).split())
        try:
            return draw_formula(tex, block=match["tag"] == "div")
        except ValueError as error:
            log.warning("%s: cannot draw the formula %s: %s", page.file.src_uri, tex, error)
            return match[0]

    return FORMULA.sub(draw, content)


def draw_formula(tex: str, *, block: bool) -> str:
    """Returns a formula as an SVG image within HTML.

    Args:
        tex: The formula, without dollar signs.
        block: Whether it stands in a line of its own.

    Raises:
        ValueError: If mathtext cannot read it.
    """
    style = r"\displaystyle " if block else ""
    text = f"${style}{tex}$"
    font = FontProperties(size=UNITS, math_fontfamily="stix")
    width, height, depth = text_to_path.get_text_width_height_descent(text, font, ismath=True)
    path = TextPath((0, 0), text, prop=font)
    strokes = []
    for points, code in path.iter_segments(curves=True):
        if code == Path.CLOSEPOLY:
            strokes.append("Z")
        else:
            # Upwards is positive in TextPath and negative in SVG.
            numbers = (f"{-y:.0f}" if i % 2 else f"{y:.0f}" for i, y in enumerate(points))
            strokes.append(COMMANDS[code] + " ".join(numbers))
    scale = SCALE / UNITS
    image = (
        f'<svg class="formula" role="img" aria-label="{html.escape(tex)}" '
        f'viewBox="0 {depth - height:.0f} {width:.0f} {height:.0f}" '
        f'style="width:{width * scale:.3f}em;height:{height * scale:.3f}em;'
        f'vertical-align:{-depth * scale:.3f}em;max-width:100%">'
        f'<path fill="currentColor" d="{"".join(strokes)}"/></svg>'
    )
    return f'<p style="text-align:center">{image}</p>' if block else image
