"""Galleries of queries and the images found for them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ccp_dml.evaluation import QueryRetrieval
from ccp_dml.report import RetrievalSamples, Retriever
from ccp_dml.report.retrieval_gallery import choose_queries, draw_queries, gallery_section
from tests.report.retrieval_cases import make_retrievers, make_samples


def make_retriever(average_precision, starts_right, labels):
    """A method with these results, searched in the queries and one sample of another class."""
    samples = RetrievalSamples(np.asarray(labels), np.asarray([*labels, -1]))
    nearest = np.where(starts_right, np.arange(len(labels)), len(labels))[:, None]
    found = QueryRetrieval(np.asarray(average_precision), nearest)
    return Retriever("method", np.zeros((len(labels), 2)), found), samples


def test_easy_typical_and_failed_queries(generator):
    precision = generator.permutation(np.linspace(0, 1, 200))
    labels = np.arange(200) % 10
    case = make_retriever(precision, precision > 0.05, labels)
    chosen = choose_queries(*case, 3)
    assert list(chosen) == ["easy", "typical", "failed"]
    assert (precision[chosen["easy"]] >= 0.89).all()
    assert (abs(precision[chosen["typical"]] - 0.5) < 0.06).all()
    # From the hardest tenth, those whose nearest image is wrong.
    assert (precision[chosen["failed"]] <= 0.05).all()
    for kind in ("easy", "typical"):
        assert len(set(labels[chosen[kind]])) == 3
    again = choose_queries(*case, 3)
    for kind, rows in chosen.items():
        np.testing.assert_array_equal(rows, again[kind])


def test_queries_with_nothing_to_find_are_not_shown():
    precision = np.array([np.nan, 0.2, np.nan, 0.4, 0.9])
    chosen = choose_queries(*make_retriever(precision, np.ones(5, bool), np.arange(5)), 3)
    for rows in chosen.values():
        assert set(rows) <= {1, 3, 4}
        assert rows.size


def read_value(source):
    """The label that an image shows."""
    image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    (value,) = np.unique(np.asarray(image))
    return value


@pytest.mark.parametrize("has_gallery", [False, True])
def test_what_is_right_and_what_is_wrong(has_gallery, generator):
    labels = generator.integers(0, 9, 80)
    gallery_labels = generator.integers(0, 9, 70) if has_gallery else None
    names = [f"name {label}" for label in range(9)]
    samples = make_samples(labels, gallery_labels, names)
    retrievers = make_retrievers(samples, generator)
    note, *galleries = gallery_section(retrievers, samples).blocks
    assert ("the gallery" if has_gallery else "all other test images") in note.text
    assert "ccp" in note.text
    assert len(galleries) == 9
    signs = set()
    for gallery in galleries:
        label = read_value(gallery.query.source)
        assert gallery.query.label == f"name {label}"
        assert [answer.title.split()[0] for answer in gallery.answers] == ["before", "plain", "ccp"]
        for answer in gallery.answers:
            assert len(answer.found) == 10
            for rank, thumbnail in enumerate(answer.found, start=1):
                found = read_value(thumbnail.source)
                assert thumbnail.is_right == (found == label)
                assert thumbnail.description == (
                    f"Nearest {rank}: name {found}, {'right' if found == label else 'wrong'}"
                )
                signs.add(thumbnail.is_right)
    assert signs == {True, False}


def test_many_methods_have_fewer_queries(generator):
    samples = make_samples(np.arange(60) % 6)
    retrievers = make_retrievers(samples, generator) * 4
    _, *galleries = gallery_section(retrievers, samples).blocks
    assert len(galleries) == 3


def test_a_picture_of_what_every_method_finds(generator):
    labels = generator.integers(0, 9, 80)
    samples = make_samples(labels, None, [f"name {label}" for label in range(9)])
    (panel,) = draw_queries(make_retrievers(samples, generator), samples).axes
    tiles = list(zip(panel.images, panel.patches, panel.texts, strict=True))
    rows = [tiles[start : start + 11] for start in range(0, len(tiles), 11)]
    captions = [caption.get_text().splitlines() for (_, _, caption), *_ in rows]
    kinds = ["easy query", "typical query", "failed query"]
    assert captions == [[kind, name] for kind in kinds for name in ("before", "plain", "ccp")]
    styles = set()
    for (query, _, _), *found in rows:
        label = np.unique(query.get_array()).item()
        for image, frame, caption in found:
            value = np.unique(image.get_array()).item()
            assert caption.get_text() == f"name {value}"
            left, right, bottom, top = image.get_extent()
            np.testing.assert_allclose(frame.get_bbox().extents, [left, top, right, bottom])
            x, y = caption.get_position()
            assert left < x < right
            assert bottom < y < bottom + 0.1
            # Wrong results have a dashed frame.
            style = frame.get_linestyle()
            assert style == ("-" if value == label else "--")
            styles.add(style)
    assert len(styles) == 2
