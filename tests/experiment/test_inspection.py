import numpy as np
import pandas as pd
import pytest

from ccp_dml.data import ImageListing, list_images
from ccp_dml.experiment.inspection import inspect_embeddings, inspect_images
from ccp_dml.inference import ConcatenatedEmbedder
from tests.data.pictures import encoded, near_duplicate, patterns
from tests.inference.embedders import small_embedder

KINDS = ("compressed", "resized", "cropped")


@pytest.fixture
def embedder():
    return ConcatenatedEmbedder([small_embedder(size=32, image_size=16)])


def test_a_data_set_with_planted_faults(embedder, tmp_path):
    pictures = patterns(num_classes=20, per_class=8)
    # The split that each image is copied to: for half of them, not their own.
    copies = {5: "train", 21: "train", 38: "test", 83: "train", 99: "train", 118: "test"}
    pairs, wrong = {}, {}
    images = tmp_path / "images"
    for row, pixels in enumerate(pictures):
        number = row // 8
        split = "train" if number < 10 else "test"
        shown = number
        if row in (2, 50, 90, 145):
            shown = number + 1
        path = images / split / f"class{shown:02d}" / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels))
        if shown != number:
            wrong[str(path)] = f"class{number:02d}"
        if row in copies:
            copy = images / copies[row] / f"class{shown:02d}" / f"copy{row}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(encoded(near_duplicate(pixels, KINDS[len(pairs) % 3]), "PNG"))
            pairs[tuple(sorted([str(path), str(copy)]))] = copies[row] != split

    folder = tmp_path / "inspection"
    inspection = inspect_images(embedder, list_images(images), folder, k=5)
    duplicates = pd.read_csv(folder / "duplicates.csv")
    found = {
        tuple(sorted([pair.path_a, pair.path_b])): pair.across_splits
        for pair in duplicates.itertuples()
    }
    assert found == pairs
    assert duplicates.across_splits.tolist() == [True] * 3 + [False] * 3
    assert (duplicates.distance <= inspection.max_distance).all()
    first = duplicates.iloc[0]
    assert {first.split_a, first.split_b} == {"train", "test"}
    assert f"/{first.split_a}/{first.label_a}/" in first.path_a
    suspicious = pd.read_csv(folder / "suspicious_labels.csv")
    assert dict(zip(suspicious.path, suspicious.suggested_label, strict=True)) == wrong
    assert (suspicious.votes == 5).all()
    assert "6 pairs of 166 images" in inspection.summary
    assert "3 of them across splits. For 4 images" in inspection.summary
    assert "inspection.html" in inspection.files
    page = (folder / "inspection.html").read_text(encoding="utf-8")
    # Two of each pair; an image and five neighbours of each suspicious label.
    assert page.count('<img src="data:image/') == 6 * 2 + 4 * 6
    assert page.count("Across splits, distance") == 3
    assert "class00, or class01? 5 of 5 neighbours of" not in page
    assert "class01, or class00? 5 of 5 neighbours of" in page


def test_images_in_memory_without_labels(embedder, tmp_path):
    pictures = patterns(num_classes=3, per_class=4, size=16)
    listing = ImageListing(np.concatenate([pictures, pictures[:1]]))
    inspection = inspect_images(embedder, listing, tmp_path, max_distance=1e-6)
    assert inspection.duplicates[["path_a", "path_b"]].values.tolist() == [[0, 12]]
    assert not inspection.duplicates.across_splits.any()
    assert "There are no labels" in inspection.summary
    assert pd.read_csv(tmp_path / "suspicious_labels.csv").empty
    assert (tmp_path / "inspection.html").read_text(encoding="utf-8").count("<img ") == 2


def test_images_without_a_label_are_no_neighbours():
    embeddings = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [5.3]])
    paths = list("abcdefg")
    # The images nearest to d have no label; the next one is of another class.
    labels = ["x", "x", "x", "x", None, None, "y"]
    inspection = inspect_embeddings(embeddings, paths, labels, k=1)
    assert inspection.suspicious.path.tolist() == ["d"]
    assert inspection.suspicious.suggested_label.tolist() == ["y"]
    assert inspection.nearest.tolist() == [[6]]


def test_fewer_than_two_images(embedder, tmp_path):
    with pytest.raises(ValueError, match="at least 2 images to compare; got 1"):
        inspect_images(embedder, ImageListing(["a.jpg"]), tmp_path)
