"""A report as a browser shows it, on a phone and on a large screen."""

import numpy as np
import pytest

from ccp_dml.data import Benchmark, LabeledImages
from ccp_dml.experiment.run_report import write_report
from ccp_dml.experiment.table import make_tables
from tests.experiment.saved_runs import save_embeddings, save_run, unit_vectors

NAMES = ("<script>document.title = 'harmed'</script>", "A" * 300, "🐕 dogs & cats ‮", "'\" x=")
LONG_NAME = "a_folder_with_a_name_that_is_longer_than_the_screen_of_any_phone"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a run with queries, a gallery and odd names."""
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("runs") / LONG_NAME
    metrics = {"map_at_r": 0.2, "precision_at_1": 0.3, "r_precision": 0.3, "recall_at_1": 0.3}
    methods = ("plain", "ccp+dvml+xbm")
    effort = {"steps": 100, "best_step": 50, "rounds": 1, "seconds": 2.0, "best_phase": ""}
    results = {"before": metrics, **dict.fromkeys(methods, metrics | effort)}
    save_run(folder, results, methods, seed=0, loss_params="positive_margin=0,negative_margin=0.5")
    labels, gallery_labels = np.arange(32) % 4, np.arange(40) % 4
    for method in ("before", *methods):
        save_embeddings(
            folder / method,
            embeddings=unit_vectors(generator, 32, 4),
            labels=labels,
            gallery_embeddings=unit_vectors(generator, 40, 4),
            gallery_labels=gallery_labels,
        )
    for method in methods:
        rows = [
            f"{epoch},{generator.uniform()},{epoch // 4},0.4,{25 * epoch + 25},0.3"
            for epoch in range(40)
        ]
        header = "epoch,loss,round,covering_radius,step,val_map_at_r"
        (folder / method / "history.csv").write_text("\n".join([header, *rows]))
    queries, gallery = (
        LabeledImages(generator.uniform(size=(len(part), 32, 32, 3)).astype("float32"), part)
        for part in (labels, gallery_labels)
    )
    benchmark = Benchmark(train=queries, test=queries, gallery=gallery, class_names=NAMES)
    return write_report(make_tables([folder]), folder, benchmark)


@pytest.fixture(scope="module", params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(scope="module", params=[390, 1440])
def page(request, scheme, browser, report):
    page = browser.new_page(viewport={"width": request.param, "height": 900}, color_scheme=scheme)
    page.said, page.requested = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda sent: page.requested.append(sent.url))
    page.goto(report.resolve().as_uri())
    yield page
    page.close()


def test_the_page_stands_for_itself(page, report):
    assert page.said == []
    elsewhere = [url for url in page.requested if not url.startswith("data:")]
    assert elsewhere == [report.resolve().as_uri()]
    # No name was run as a script.
    assert page.title() == f"Report of {LONG_NAME}"
    assert page.evaluate("document.scripts.length") == 0


def test_nothing_is_wider_than_the_screen(page):
    width = page.viewport_size["width"]
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    # Anything wider scrolls within a box of its own.
    outside = page.evaluate(
        """width => [...document.body.querySelectorAll("*")].filter(
            element => element.getBoundingClientRect().right > width + 1
                && !element.closest(".scroll, .found")
        ).map(element => element.outerHTML.slice(0, 100))""",
        width,
    )
    assert outside == []


def test_every_picture_is_there(page):
    images = page.evaluate(
        "[...document.images].map(image => [image.complete, image.naturalWidth, image.alt])"
    )
    assert len(images) > 9 * 31
    assert all(complete and width > 0 and alt for complete, width, alt in images)
    drawn = page.evaluate(
        """[...document.querySelectorAll("svg")].map(svg => {
            const box = svg.getBoundingClientRect();
            return [box.width, box.height, svg.getAttribute("aria-label")];
        })"""
    )
    assert len(drawn) >= 6
    assert all(width > 250 and height > 100 and label for width, height, label in drawn)


def test_methods_stand_side_by_side_or_below_each_other(page):
    boxes = page.evaluate(
        """[...document.querySelector(".gallery").querySelectorAll(".answer")].map(
            answer => [answer.getBoundingClientRect().left, answer.getBoundingClientRect().top]
        )"""
    )
    assert len(boxes) == 3
    lefts, tops = ({round(place) for place in places} for places in zip(*boxes, strict=True))
    assert (len(lefts), len(tops)) == ((1, 3) if page.viewport_size["width"] == 390 else (3, 1))


def luminance(color):
    """Relative luminance of `rgb(…)`, as the Web Content Accessibility Guidelines define it."""
    parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def test_texts_can_be_read(page):
    background = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    for selector in ("p", "th", "td", "a", "figcaption", ".right b", ".wrong b", "svg text"):
        color = page.evaluate(
            """selector => {
                const style = getComputedStyle(document.querySelector(selector));
                return selector === "svg text" ? style.fill : style.color;
            }""",
            selector,
        )
        lighter, darker = sorted([luminance(color), background], reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) > 4.0, (selector, color)


def test_contents_lead_to_the_sections(page):
    page.click("nav a >> text=Classes")
    assert page.evaluate("location.hash") == "#classes"
    assert page.evaluate("document.querySelector('#classes').getBoundingClientRect().top") < 900
