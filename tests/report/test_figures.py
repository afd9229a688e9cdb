"""Figures as they are put into a page."""

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from ccp_dml.report.figures import (
    add_legend,
    embed_png,
    encode_image,
    line_styles,
    panel,
    thin_out,
    to_picture,
)


def decode(source):
    kind, _, content = source.partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == f"data:image/{image.format.lower()}"
    return image


def draw(count, description="a line"):
    values = np.random.default_rng(0).uniform(size=count)
    with panel(description) as axes:
        axes.plot(values, label="values")
        add_legend(axes)
        return to_picture(axes, description, "Values.")


def test_a_small_figure_is_drawn_in_lines():
    picture = draw(20, "values < 1 & 'more'")
    assert not picture.source
    root = ElementTree.fromstring(picture.svg)
    assert root.attrib["aria-label"] == "values < 1 & 'more'"
    assert "width" not in root.attrib
    assert root.attrib["viewBox"]
    assert "values" in "".join(root.itertext())
    # It takes the colour of the page's text, in light mode and in dark mode.
    assert "currentColor" in picture.svg
    assert "#7f8489" not in picture.svg


def test_a_large_figure_is_a_raster():
    picture = draw(50_000)
    assert not picture.svg
    image = decode(picture.source)
    assert image.width > 500
    assert image.mode == "RGBA"


@pytest.mark.parametrize("count", [20, 50_000])
def test_figures_are_the_same_every_time(count):
    assert draw(count) == draw(count)


def test_many_names_stand_below():
    heights = []
    for count in (3, 4):
        with panel("names") as axes:
            for name in range(count):
                axes.plot([0, 1], [0, name], label=f"method {name}")
            add_legend(axes)
            picture = to_picture(axes, "names", "Names.")
        for name in range(count):
            assert f"method {name}" in picture.svg
        heights.append(float(ElementTree.fromstring(picture.svg).attrib["viewBox"].split()[3]))
    assert heights[1] > heights[0]


def test_images_are_kept_in_the_smaller_format(generator):
    flat = np.full((40, 30, 3), 200, "uint8")
    noise = generator.integers(0, 256, (80, 80, 3), dtype="uint8")
    grey = generator.integers(0, 256, (8, 8, 1), dtype="uint8")
    image = decode(encode_image(flat))
    assert (image.format, image.size) == ("PNG", (30, 40))
    assert decode(encode_image(noise)).format == "JPEG"
    np.testing.assert_array_equal(np.asarray(decode(encode_image(grey))), grey[:, :, 0])


def test_files_are_embedded_as_they_are():
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "png")
    assert decode(embed_png(file.getvalue())).size == (3, 2)


def test_styles_tell_methods_apart():
    names = [f"method {number}" for number in range(20)]
    styles = line_styles(["before", *names, "names: raw_pixels"])
    assert len({tuple(style.values()) for style in styles.values()}) == 22
    # Baselines have the colour of the text, and leave the other colours to the methods.
    assert styles["before"]["color"] == styles["names: raw_pixels"]["color"]
    assert styles["method 0"] == line_styles(names)["method 0"]


@pytest.mark.parametrize(("count", "most"), [(1, 2), (7, 7), (100, 7), (3, 2)])
def test_thinning_keeps_both_ends(count, most):
    kept = thin_out(count, most)
    assert len(kept) == min(count, most)
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert (np.diff(kept) > 0).all()
