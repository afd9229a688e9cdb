"""A report as one HTML file: sections of tables, pictures and galleries."""

import dataclasses
import re
from collections.abc import Sequence

import jinja2
import pandas as pd

from ccp_dml.report.tables import LEFT_COLUMNS


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, which scrolls if it is wider than the page.

    Attributes:
        columns: Titles.
        rows: The texts of the cells of each row.
        caption: What it shows, in a sentence.
        left_columns: Titles of the columns with text; the others have numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    left_columns: Sequence[str] = LEFT_COLUMNS
    kind = "table"

    @classmethod
    def from_cells(
        cls, cells: pd.DataFrame, caption: str, left_columns: Sequence[str] = LEFT_COLUMNS
    ) -> "Table":
        """Makes a table of texts, without its empty columns."""
        shown = cells.loc[:, (cells != "").any()]
        return cls(
            list(shown), list(shown.itertuples(index=False, name=None)), caption, left_columns
        )


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Attributes:
        svg: The text of an SVG element; empty if the picture is a raster.
        source: A data URI of a raster; empty if the picture is an SVG.
        description: What it shows, for readers who cannot see it.
        caption: What it shows and how to read it.
        is_wide: Whether it may take the whole width of the page.
    """

    description: str
    caption: str
    svg: str = ""
    source: str = ""
    is_wide: bool = False
    kind = "picture"


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A small image.

    Attributes:
        source: A data URI.
        description: What it shows, for readers who cannot see it.
        label: The text below it.
        is_right: Whether it is of the right class. Defaults to `None`: not applicable.
        is_coarse: Whether it has so few pixels that they should be shown as squares.
    """

    source: str
    description: str
    label: str
    is_right: bool | None = None
    is_coarse: bool = False


@dataclasses.dataclass(frozen=True)
class Answer:
    """The results of a method for a query: its name with a number, and images, nearest first."""

    title: str
    found: Sequence[Thumbnail]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """A query with the results of each method.

    Attributes:
        title: What kind of query it is.
        query: Its image.
        answers: One for each method.
    """

    title: str
    query: Thumbnail
    answers: Sequence[Answer]
    kind = "gallery"


@dataclasses.dataclass(frozen=True)
class Note:
    """A sentence."""

    text: str
    kind = "note"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report with a heading.

    Attributes:
        title: The heading.
        blocks: Notes, tables, pictures and galleries, in order.
    """

    title: str
    blocks: Sequence[Note | Table | Picture | Gallery]

    @property
    def anchor(self) -> str:
        """The anchor for links to the section."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")

    @property
    def runs(self) -> list[tuple[str, list]]:
        """Groups consecutive blocks of the same kind, with their kind."""
        runs: list[tuple[str, list]] = []
        for block in self.blocks:
            if not runs or runs[-1][0] != block.kind:
                runs.append((block.kind, []))
            runs[-1][1].append(block)
        return runs


def render_page(title: str, sections: Sequence[Section]) -> str:
    """Renders a complete HTML page that needs no other file, no network and no script.

    The same sections always give the same text. All texts except the SVG of pictures are escaped.

    Args:
        title: The heading of the page.
        sections: Its sections; those without blocks are left out.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ccp_dml.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = [section for section in sections if section.blocks]
    return environment.get_template("report.html").render(title=title, sections=shown)
