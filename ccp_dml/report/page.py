"""A report as one HTML file: sections of tables, pictures and galleries."""

import dataclasses
import re
from collections.abc import Sequence

import jinja2
import pandas as pd

from ccp_dml.report.tables import LEFT_COLUMNS


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, which scrolls inside itself where it is wider than the page.

    Attributes:
        columns: Titles.
        rows: For each row the texts of its cells.
        caption: What it shows, in a sentence.
        left_columns: Titles of the columns with words; the others have numbers.
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
        """A table of texts, without its empty columns."""
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
        description: What it shows, for those who do not see it.
        caption: What it shows and how to read it.
        is_wide: Whether it takes the width of the page, as far as it has it.
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
        description: What it shows, for those who do not see it.
        label: What stands below it.
        is_right: Whether it is of the right class. Defaults to `None`: that is not the question.
        is_coarse: Whether it has so few pixels that they are shown as squares.
    """

    source: str
    description: str
    label: str
    is_right: bool | None = None
    is_coarse: bool = False


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a method finds for a query: its name with a number, and images, nearest first."""

    title: str
    found: Sequence[Thumbnail]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """A query, and beside it what each method finds.

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
        """What links to the section end with."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")

    @property
    def runs(self) -> list[tuple[str, list]]:
        """The blocks, those of the same kind that follow each other together with their kind."""
        runs: list[tuple[str, list]] = []
        for block in self.blocks:
            if not runs or runs[-1][0] != block.kind:
                runs.append((block.kind, []))
            runs[-1][1].append(block)
        return runs


def render_page(title: str, sections: Sequence[Section]) -> str:
    """A whole HTML page that needs no other file, no network and no script.

    The same sections give the same text. All texts are escaped but for the SVG of pictures.

    Args:
        title: The heading of the page.
        sections: What stands on it; those without blocks are left out.
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
