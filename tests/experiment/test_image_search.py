import json

import numpy as np
import pytest
from matplotlib import image

from ccp_dml.data import ImageListing, list_images
from ccp_dml.experiment.embedding import embed_images
from ccp_dml.experiment.image_search import (
    Neighbor,
    Query,
    as_records,
    draw_queries,
    format_queries,
    search_images,
)
from ccp_dml.inference import ConcatenatedEmbedder, Gallery
from tests.data.pictures import encoded, patterns
from tests.inference.embedders import small_embedder


@pytest.fixture(scope="module")
def embedder():
    return ConcatenatedEmbedder([small_embedder(size=16, image_size=16)])


@pytest.fixture(scope="module")
def gallery(embedder, tmp_path_factory):
    """The path of a gallery of 4 classes with 5 images each, and their folder."""
    folder = tmp_path_factory.mktemp("gallery")
    for row, pixels in enumerate(patterns(num_classes=4, per_class=5)):
        path = folder / "images" / "abcd"[row // 5] / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels))
    embed_images(embedder, list_images(folder / "images"), folder / "gallery.parquet")
    return folder / "gallery.parquet", folder / "images"


def test_the_nearest_are_those_of_all_distances(embedder, gallery):
    path, folder = gallery
    listing = list_images(folder)
    embeddings = embedder.embed(listing.images)
    (query,) = search_images(embedder, path, folder / "b" / "7.jpg", k=20)
    own = listing.images.index(f"{folder}/b/7.jpg")
    distances = np.linalg.norm(embeddings - embeddings[own], axis=1)
    order = np.argsort(distances)
    assert query.path == f"{folder}/b/7.jpg"
    assert [each.path for each in query.neighbors] == [listing.images[row] for row in order]
    assert [each.rank for each in query.neighbors] == list(range(1, 21))
    assert [each.label for each in query.neighbors] == [listing.labels[row] for row in order]
    found = [each.distance for each in query.neighbors]
    np.testing.assert_allclose(found, distances[order], atol=1e-6)


def test_a_query_that_is_in_the_gallery_can_be_left_out(embedder, gallery, monkeypatch):
    path, folder = gallery
    # Only the file itself is left out, not another one with the same contents.
    (folder.parent / "copy.jpg").write_bytes((folder / "b" / "7.jpg").read_bytes())
    monkeypatch.chdir(folder / "b")
    own = f"{folder}/b/7.jpg"
    for query, is_found in (("../b/7.jpg", False), ("../../copy.jpg", True)):
        (result,) = search_images(embedder, path, query, k=19, exclude_self=True)
        assert (own in [each.path for each in result.neighbors]) == is_found
    (result,) = search_images(embedder, path, "7.jpg", k=1)
    assert result.neighbors[0].path == own
    assert result.neighbors[0].distance < 1e-6


def test_a_folder_of_queries_as_table_picture_and_records(embedder, gallery, tmp_path):
    path, folder = gallery
    queries = search_images(embedder, path, folder, k=3, exclude_self=True)
    assert [query.label for query in queries] == list("aaaaabbbbbcccccddddd")
    lines = format_queries(queries[:1]).splitlines()
    assert lines[0].split() == ["query", "rank", "distance", "path", "label"]
    assert len(lines) == 2 + 3
    assert lines[2].split()[0] == f"{folder}/a/0.jpg"
    assert json.loads(json.dumps(as_records(queries)))[0]["neighbors"][0]["label"] == "a"
    draw_queries(queries).savefig(tmp_path / "search.png", dpi=40)
    pixels = image.imread(tmp_path / "search.png")
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 1000


def test_images_in_memory_are_found_by_their_numbers(embedder, tmp_path, gallery):
    pictures = patterns(num_classes=4, per_class=5)
    listing = ImageListing(pictures, labels=[row // 5 for row in range(20)])
    embed_images(embedder, listing, tmp_path / "numbers.parquet")
    query = gallery[1] / "c" / "12.jpg"
    (result,) = search_images(embedder, tmp_path / "numbers.parquet", query, k=3, exclude_self=True)
    assert result.neighbors[0].path == 12
    assert result.neighbors[0].label == 2
    assert json.dumps(as_records([result]))
    draw_queries([result]).savefig(tmp_path / "search.png", dpi=40)


def test_galleries_of_other_networks_are_named(embedder, gallery, tmp_path):
    path, folder = gallery
    other = ConcatenatedEmbedder([small_embedder(1, size=16, image_size=16)])
    with pytest.raises(ValueError, match=r"gallery.parquet was embedded with other networks \("):
        search_images(other, path, folder)
    # Galleries written by other programs do not name their networks: only the size is known.
    Gallery.build(np.eye(3), ["a", "b", "c"]).save(tmp_path / "other.parquet")
    with pytest.raises(
        ValueError, match="embeddings of size 3, but those of the networks have size 16"
    ):
        search_images(embedder, tmp_path / "other.parquet", folder)


def test_invalid_input(embedder, gallery, tmp_path):
    path, folder = gallery
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 20; got 21"):
        search_images(embedder, path, folder, k=21)
    with pytest.raises(ValueError, match=r"there is no file .*none.parquet"):
        search_images(embedder, tmp_path / "none.parquet", folder)
    with pytest.raises(ValueError, match=r"nothing.jpg does not exist"):
        search_images(embedder, path, tmp_path / "nothing.jpg")
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(ValueError, match=r"text.jpg is not in one of the formats JPEG"):
        search_images(embedder, path, tmp_path / "text.jpg")


def test_a_file_name_takes_one_line_of_the_table():
    neighbor = Neighbor(1, 0.25, "/images/a\nb.jpg", "cat")
    table = format_queries([Query("/queries/\nq.jpg", None, [neighbor])])
    assert table.splitlines()[2:] == ["/queries/\\nq.jpg     1    0.2500  /images/a\\nb.jpg  cat"]
