"""Images and their neighbours as a section of a page."""

from collections.abc import Sequence

import numpy as np

from ccp_dml.report.figures import encode_image
from ccp_dml.report.neighbor_sheet import Tile
from ccp_dml.report.page import Answer, Gallery, Note, Section, Thumbnail

_COARSE = 48
_NO_PICTURE = np.full((48, 48), 160, "uint8")


def neighbor_section(
    title: str, note: str, rows: Sequence[Sequence[Tile]], titles: Sequence[str]
) -> Section:
    """Makes a section with an image and its neighbours in each row.

    Args:
        title: Its heading.
        note: What it shows, in sentences.
        rows: The images, each followed by its neighbours, as for `draw_neighbors`.
        titles: A title for each row.
    """
    galleries = [
        Gallery(heading, _make_thumbnail(image), [Answer("", list(map(_make_thumbnail, others)))])
        for heading, (image, *others) in zip(titles, rows, strict=True)
    ]
    return Section(title, [Note(note), *galleries])


def _make_thumbnail(tile):
    image = _NO_PICTURE if tile.image is None else tile.image
    caption = tile.caption.replace("\n", " ")
    is_coarse = max(image.shape[:2]) < _COARSE
    return Thumbnail(encode_image(image), caption, caption, tile.is_right, is_coarse)
