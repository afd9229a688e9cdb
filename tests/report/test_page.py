"""The page of a report, parsed by the standard library."""

import html.parser

import pandas as pd
import pytest

from ccp_dml.report.page import (
    Answer,
    Gallery,
    Note,
    Picture,
    Section,
    Table,
    Thumbnail,
    render_page,
)

HOSTILE = '<script>alert("&1")</script>'
PIXEL = "data:image/png;base64,AAAA"


class Parser(html.parser.HTMLParser):
    """Collects elements with their attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def make_sections(name):
    thumbnails = [
        Thumbnail(PIXEL, f"{name}, right", name, is_right=True),
        Thumbnail(PIXEL, f"{name}, wrong", name, is_right=False, is_coarse=True),
    ]
    return [
        Section("What is found", [Note(f"About {name}."), Note("More.")]),
        Section("Nothing", []),
        Section(
            "Tables & pictures",
            [
                Table(["method", "MAP@R"], [(name, "0.5")], f"A table of {name}."),
                Picture(name, f"A picture of {name}.", source=PIXEL),
                Picture(name, "Drawn.", svg='<svg role="img"><path d="M0 0"/></svg>'),
                Gallery(name, Thumbnail(PIXEL, name, name), [Answer(name, thumbnails)]),
            ],
        ),
    ]


@pytest.mark.parametrize("name", [HOSTILE, "'\" onerror=x ", "{{ 7 * 7 }}", "ÅÜ 🐕 ‮evil"])
def test_names_are_shown_as_they_are(name):
    page = Parser(render_page(name, make_sections(name)))
    assert not page.named("script")
    assert {tag for tag, _ in page.elements} >= {"h1", "table", "figure", "svg", "img"}
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    for text in (name.strip(), f"About {name}.", f"A table of {name}."):
        assert text in page.texts
    assert {image["alt"] for image in page.named("img")} == {
        name,
        f"{name}, right",
        f"{name}, wrong",
    }


def test_contents_link_to_the_sections():
    page = Parser(render_page("A run", make_sections("a")))
    targets = [each["id"] for each in page.named("section")]
    assert targets == ["what-is-found", "tables-pictures"]
    assert [link["href"] for link in page.named("a")] == [f"#{target}" for target in targets]


def test_right_and_wrong_are_told_by_signs_too():
    page = Parser(render_page("A run", make_sections("a")))
    assert page.texts.count("✓") == page.texts.count("✗") == 1
    kinds = [figure.get("class") for figure in page.named("figure")]
    assert kinds[-3:] == ["thumbnail query", "thumbnail right", "thumbnail wrong"]
    assert [image.get("class") for image in page.named("img")][-3:] == [None, None, "coarse"]


def test_nothing_is_fetched_and_nothing_is_run():
    page = Parser(render_page("A run", make_sections("a")))
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "object")
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))


def test_the_same_sections_give_the_same_page():
    assert render_page("A run", make_sections("a")) == render_page("A run", make_sections("a"))


def test_columns_without_words_are_of_numbers():
    cells = pd.DataFrame({"method": ["plain"], "empty": [""], "MAP@R": ["0.5"]})
    table = Table.from_cells(cells, "Results")
    assert list(table.columns) == ["method", "MAP@R"]
    page = Parser(render_page("A run", [Section("Results", [table])]))
    assert [cell.get("class") for cell in page.named("td")] == ["words", None]
