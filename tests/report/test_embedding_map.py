"""Maps of embeddings."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ccp_dml.report.embedding_map import choose_mapped, draw_map, lay_out, map_section
from tests.report.retrieval_cases import make_retrievers, make_samples


@pytest.mark.parametrize(("classes", "size"), [(5, 300), (400, 20), (3, 4), (1, 2000)])
def test_samples_of_whole_classes(classes, size, generator):
    labels = generator.permutation(np.repeat(np.arange(classes), size))
    rows = choose_mapped(labels, most=200)
    assert len(rows) == min(200, len(labels))
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, choose_mapped(labels.copy(), most=200))
    counts = np.bincount(labels[rows], minlength=classes)
    # If there are few classes, all are shown; if many, each one shown has neighbours.
    assert np.count_nonzero(counts) >= min(classes, 5)
    assert np.median(counts[counts > 0]) >= min(size, 20)


def test_clusters_stay_apart(generator):
    labels = np.arange(90) % 3
    embeddings = np.eye(3)[labels] + 0.02 * generator.normal(size=(90, 3))
    places = lay_out(embeddings.astype("float32"))
    assert places.min() == pytest.approx(0)
    assert places.max() == pytest.approx(1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(labels[distances.argmin(axis=1)], labels)
    np.testing.assert_array_equal(places, lay_out(embeddings.astype("float32")))


@pytest.mark.parametrize("size", [1, 2])
def test_embeddings_of_few_dimensions(size, generator):
    assert lay_out(generator.normal(size=(4, size)).astype("float32")).shape == (4, 2)


@pytest.mark.parametrize("spread", [0, 1e-12, 1e-6, 1e-4])
@pytest.mark.parametrize("rank", [1, 4])
def test_embeddings_that_have_collapsed(spread, rank, generator):
    embeddings = np.full((20, 4), 0.5)
    embeddings[:, :rank] += spread * generator.normal(size=(20, rank))
    # Two of them are equal.
    embeddings[1] = embeddings[0]
    assert np.isfinite(lay_out(embeddings.astype("float32"))).all()


def test_images_stand_at_their_places():
    images = (
        np.zeros((3, 8, 8, 1), "uint8") + np.array([50, 100, 250], "uint8")[:, None, None, None]
    )
    places = np.array([[0.0, 0.0], [1.0, 0.5], [0.005, 0.0]])
    drawn = draw_map(places, images, np.array([0, 1, 2]))
    assert drawn.shape == (880, 880, 3)
    assert (drawn[20, 20] == 50).all()
    assert (drawn[440, 860] == 100).all()
    # There is no room for the third image beside the first.
    assert not (drawn == 250).all(axis=2).any()


def test_every_method_has_a_map_of_the_same_images(generator):
    samples = make_samples(np.arange(30) % 3, np.arange(20) % 3)
    note, *pictures = map_section(make_retrievers(samples, generator), samples).blocks
    assert note.text.startswith("50 test images of 3 classes")
    for picture in pictures:
        content = base64.b64decode(picture.source.partition(",")[2])
        assert Image.open(io.BytesIO(content)).size == (880, 880)
    assert len({picture.source for picture in pictures}) == 3


def test_too_few_samples_have_no_map(generator):
    samples = make_samples(np.array([0, 0, 1]))
    assert not map_section(make_retrievers(samples, generator), samples).blocks
