"""The documentation as MkDocs builds it, and as a browser opens it without a server."""

import html.parser
import importlib
import os
import pathlib
import pkgutil
import re
import string
import subprocess
import sys
import urllib.parse
import zlib

import pytest

import ccp_dml

pytest.importorskip("mkdocstrings", reason='the site needs pip install "ccp_dml[docs]"')
pytest.importorskip("material", reason='the site needs pip install "ccp_dml[docs]"')

ROOT = pathlib.Path(__file__).parents[2]
# Packages whose names are documented with their parent package, for both backends.
OF_A_BACKEND = {"tensorflow", "jax"}


class Page(html.parser.HTMLParser):
    """The links of a page, what it loads, and the names of its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.places = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif "src" in attrs or tag == "link":
            self.loaded.append(attrs.get("src") or attrs["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation") / "site"
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "WARNING" not in process.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    # The page for addresses that do not exist is of use only on a server.
    paths = [path for path in site.rglob("*.html") if path.name != "404.html"]
    return {path: Page(path) for path in paths}


def test_links_lead_to_pages_and_places_that_exist(site, pages):
    followed = set()
    for path, page in pages.items():
        for link in page.links + page.loaded:
            target, place = urllib.parse.urldefrag(link)
            if urllib.parse.urlsplit(target).scheme:
                continue
            file = (path.parent / urllib.parse.unquote(target)).resolve() if target else path
            assert file.is_file(), (path.relative_to(site), link)
            if place and file in pages:
                places = pages[file].places
                assert urllib.parse.unquote(place) in places, (path.relative_to(site), link)
                followed.add(place)
    assert "ccp_dml.losses.Mined" in followed


def test_examples_in_docstrings_are_code(site):
    # Markdown turns lines that begin with >>> into quotations.
    for path in (site / "reference").glob("*.html"):
        assert "<blockquote>" not in path.read_text(encoding="utf-8"), path


def test_no_formula_is_left_as_tex(pages):
    # Nothing would render it.
    for path in pages:
        assert "$$" not in path.read_text(encoding="utf-8"), path


def test_nothing_is_loaded_from_elsewhere(pages):
    loaded = {link for page in pages.values() for link in page.loaded}
    assert loaded
    assert not {link for link in loaded if re.match(r"(\w+:)?//", link)}


def test_every_guide_tutorial_and_record_is_a_page(site):
    sources = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/README.md")]
    assert sources
    for source in sources:
        page = source.relative_to(ROOT)
        if page.parts[0] == "docs":
            page = page.relative_to("docs")
        page = page.with_name("index.html" if page.stem == "README" else f"{page.stem}.html")
        assert (site / page).exists(), source


def public_names():
    """The full names of all that packages of ccp_dml export: as exported and as defined."""
    packages = [ccp_dml]
    for module in pkgutil.walk_packages(ccp_dml.__path__, "ccp_dml."):
        if module.ispkg and not OF_A_BACKEND & set(module.name.split(".")):
            packages.append(importlib.import_module(module.name))
    for package in packages:
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if not hasattr(value, "__path__"):  # a package has a page of its own
                module = getattr(value, "__module__", package.__name__)
                yield f"{package.__name__}.{name}", f"{module}.{name}"


def test_every_public_name_is_in_the_reference(site):
    # What mkdocstrings lists for other projects to link to: name, kind, …, page.
    listed = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    documented = {line.split(" py:")[0] for line in listed.splitlines() if " reference/" in line}
    names = list(public_names())
    assert len(names) > 200
    missing = [name for name, defined in names if not {name, defined} & documented]
    assert not missing, "give them a docstring, or a block of their own in docs/reference"


@pytest.mark.parametrize("page", ["index.html", "guides/losses.html"])
def test_search_finds_words_in_pages_opened_as_files(site, browser, page):
    tab = browser.new_page()
    said, requested = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda sent: requested.append(sent.url))
    tab.goto((site / page).as_uri())
    tab.click(".md-search__input")
    tab.keyboard.type("SIGTERM")
    found = tab.locator(".md-search-result__link[href*='guides/runs.html']").first
    found.wait_for(state="attached", timeout=60_000)
    tab.goto(tab.evaluate("link => link.href", found.element_handle()))
    assert "SIGTERM" in tab.inner_text("article")
    tab.close()
    assert said == []
    assert all(url.startswith(("file:", "about:", "data:")) for url in requested)


def test_search_finds_something_for_every_first_letter(site, browser):
    tab = browser.new_page()
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto((site / "index.html").as_uri())
    tab.click(".md-search__input")
    found = tab.locator(".md-search-result__link").first
    for letter in string.ascii_lowercase:
        tab.keyboard.type(letter)
        found.wait_for(state="attached", timeout=60_000)
        tab.keyboard.press("Backspace")
        found.wait_for(state="detached", timeout=60_000)
    tab.close()
    assert said == []
