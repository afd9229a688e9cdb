import io

import numpy as np
from matplotlib import image

from ccp_dml.report import Tile, draw_neighbors


def draw(*rows):
    file = io.BytesIO()
    draw_neighbors(rows).savefig(file, format="png", dpi=60)
    file.seek(0)
    return np.round(255 * image.imread(file)[..., :3]).astype(int)


def contains(pixels, color):
    return (np.abs(pixels - color).max(axis=2) < 12).any()


def test_images_captions_and_frames():
    blue, green, red = [0, 0, 200], [44, 159, 116], [210, 80, 75]
    picture = np.full((9, 12, 3), blue, "uint8")
    rows = [
        [Tile(picture, "query"), Tile(picture, "0.1\n$a", True), Tile(picture, "0.2\nb" * 30)],
        [Tile(None, "another"), Tile(np.zeros((5, 5), "uint8"), "0.3")],
    ]
    pixels = draw(*rows)
    assert contains(pixels, blue)
    assert contains(pixels, green)
    assert not contains(pixels, red)
    assert contains(draw([Tile(picture, "q"), Tile(picture, "a", False)]), red)


def test_names_that_are_not_unicode():
    picture = np.full((4, 4), 90, "uint8")
    names = ["\udcc3\udca9", "ok"]
    one, other = (draw([Tile(picture, "q"), Tile(picture, name)]) for name in names)
    assert (one != other).any()


def test_a_query_alone():
    assert contains(draw([Tile(np.full((4, 4), 90, "uint8"), "q")]), [90, 90, 90])
