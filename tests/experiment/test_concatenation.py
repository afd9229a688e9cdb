"""Networks of several folds together, against loops and singular value decompositions by hand."""

import numpy as np
import pytest

from ccp_dml.evaluation import concatenate_embeddings
from ccp_dml.experiment.concatenation import measure_concatenation, reduce_embeddings
from tests import naive
from tests.experiment.saved_runs import save_embeddings, unit_vectors


def normalize(vector):
    """The Lipschitz normalisation of one vector."""
    return vector / max(1.0, np.linalg.norm(vector))


def concatenate_by_hand(parts):
    return np.array([normalize(np.concatenate(rows)) for rows in zip(*parts, strict=True)])


def principal_components(part, count):
    """Principal components in the order of their variance, not whitened."""
    centered = part.astype("float64") - part.astype("float64").mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    return centered @ axes[:count].T


def map_at_r(queries, labels, *gallery):
    return naive.retrieval(queries, labels, *gallery)["map_at_r"]


@pytest.fixture
def parts(generator):
    """Embeddings of 90 images of 6 classes by 4 networks."""
    labels = np.arange(90) % 6
    centers = generator.normal(size=(4, 6, 8))
    noisy = [center[labels] + generator.normal(scale=1.5, size=(90, 8)) for center in centers]
    return [np.array([row / np.linalg.norm(row) for row in each], "float32") for each in noisy]


def test_parts_side_by_side_and_the_whole_normalised(parts):
    found = concatenate_embeddings(parts)
    np.testing.assert_allclose(found, concatenate_by_hand(parts), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found.dtype == "float32"


def test_each_network_is_reduced_by_itself(parts):
    found = reduce_embeddings(parts, 8)
    assert [part.shape for part in found] == [(90, 2)] * 4
    for part, reduced in zip(parts, found, strict=True):
        expected = np.array([normalize(row) for row in principal_components(part, 2)])
        # The sign of an axis is arbitrary, and no distance sees it.
        signs = np.sign((expected * reduced).sum(axis=0))
        np.testing.assert_allclose(reduced * signs, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "size", "components"),
    [((20, 6), 6, 2), ((20, 6), 7, 2), ((20, 6), 2, 1), ((20, 2), 9, 2), ((3, 8), 24, 3)],
)
def test_sizes_of_what_is_reduced(shape, size, components, generator):
    parts = [unit_vectors(generator, *shape) for _ in range(3)]
    assert [part.shape[1] for part in reduce_embeddings(parts, size)] == [components] * 3


def test_metrics_of_saved_embeddings(parts, tmp_path):
    labels = np.arange(90) % 6
    paths = [
        save_embeddings(tmp_path / str(number), embeddings=part, labels=labels)
        for number, part in enumerate(parts)
    ]
    concatenated, reduced = measure_concatenation(paths)
    assert concatenated["embedding_size"] == 32
    assert reduced["embedding_size"] == 8
    expected = map_at_r(concatenate_by_hand(parts), labels)
    assert concatenated["map_at_r"] == pytest.approx(expected, abs=1e-6)
    smaller = [[normalize(row) for row in principal_components(part, 2)] for part in parts]
    expected = map_at_r(concatenate_by_hand(smaller), labels)
    assert reduced["map_at_r"] == pytest.approx(expected, abs=1e-3)
    assert reduced["map_at_r"] != concatenated["map_at_r"]


def test_queries_are_searched_in_the_gallery(parts, tmp_path):
    labels = np.arange(90) % 6
    paths = [
        save_embeddings(
            tmp_path / str(number),
            embeddings=part[:30],
            labels=labels[:30],
            gallery_embeddings=part[30:],
            gallery_labels=labels[30:],
        )
        for number, part in enumerate(parts)
    ]
    smaller = [[normalize(row) for row in principal_components(part, 2)] for part in parts]
    for metrics, of_networks, accuracy in zip(
        measure_concatenation(paths), (parts, smaller), (1e-6, 1e-3), strict=True
    ):
        together = concatenate_by_hand(of_networks)
        expected = map_at_r(together[:30], labels[:30], together[30:], labels[30:])
        assert metrics["map_at_r"] == pytest.approx(expected, abs=accuracy)


def test_files_that_do_not_go_together(generator, tmp_path):
    embeddings, labels = unit_vectors(generator, 6, 4), np.arange(6) % 2
    good = save_embeddings(tmp_path / "good", embeddings=embeddings, labels=labels)
    other_order = save_embeddings(tmp_path / "order", embeddings=embeddings, labels=labels[::-1])
    with_gallery = save_embeddings(
        tmp_path / "gallery",
        embeddings=embeddings,
        labels=labels,
        gallery_embeddings=embeddings,
        gallery_labels=labels,
    )
    without_labels = save_embeddings(tmp_path / "unlabelled", embeddings=embeddings)
    too_few = save_embeddings(tmp_path / "few", embeddings=embeddings[:5], labels=labels)
    half = tmp_path / "half.npz"
    half.write_bytes(good.read_bytes()[:300])
    empty = tmp_path / "empty.npz"
    empty.touch()
    for path, message in {
        other_order: "does not contain the same images as",
        with_gallery: "does not contain the same images as",
        without_labels: r"labels \(n,\); their shapes are \(6, 4\) and \(\)",
        too_few: r"their shapes are \(5, 4\) and \(6,\)",
        half: "is damaged",
        empty: "is damaged",
        tmp_path / "nowhere.npz": "does not exist",
    }.items():
        with pytest.raises(ValueError, match=message) as raised:
            measure_concatenation([good, path])
        assert str(path) in str(raised.value)
