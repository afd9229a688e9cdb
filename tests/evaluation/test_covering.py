import numpy as np
import pytest

from ccp_dml.evaluation import covering, covering_radius, radius_by_centers


def naive_radii(points, num_centers):
    centers = [points[np.argmin(np.linalg.norm(points - points.mean(0), axis=1))]]
    radii = []
    for _ in range(num_centers):
        nearest = np.min([np.linalg.norm(points - center, axis=1) for center in centers], axis=0)
        radii.append(nearest.max())
        centers.append(points[nearest.argmax()])
    return radii


def test_equals_the_naive_radius(generator):
    sizes = [1, 2, 7, 30]
    labels = generator.permutation(np.repeat([9, 4, 7, 1], sizes))
    embeddings = generator.standard_normal((len(labels), 3))
    radii = covering_radius(embeddings, labels, num_centers=4)
    for row, label in enumerate([1, 4, 7, 9]):
        expected = naive_radii(embeddings[labels == label], 4)
        np.testing.assert_allclose(radii[row], expected, atol=1e-6)


def test_many_classes_in_groups_are_as_one(generator, monkeypatch):
    labels = generator.integers(0, 30, 400)
    embeddings = generator.standard_normal((400, 3))
    together = covering_radius(embeddings, labels, 3)
    monkeypatch.setattr(covering, "_MAX_VECTORS", 1)
    np.testing.assert_allclose(covering_radius(embeddings, labels, 3), together, rtol=1e-6)


def test_scales_with_the_embeddings_and_does_not_grow_with_centers(generator):
    embeddings, labels = generator.standard_normal((100, 4)), np.arange(100) % 3
    radii = covering_radius(embeddings, labels, 10)
    np.testing.assert_allclose(covering_radius(3 * embeddings, labels, 10), 3 * radii, rtol=1e-5)
    assert (np.diff(radii, axis=1) <= 0).all()


def test_radius_by_centers_center(generator):
    points, centers = generator.standard_normal((3, 20, 4)), generator.standard_normal((3, 5, 4))
    expected = [
        max(min(np.linalg.norm(p - c) for c in class_centers) for p in class_points)
        for class_points, class_centers in zip(points, centers, strict=True)
    ]
    np.testing.assert_allclose(radius_by_centers(points, centers), expected, rtol=1e-5)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="num_centers must be a whole number of at least 1; got 0"):
        covering_radius(np.zeros((2, 2)), np.zeros(2), 0)
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \(3,\)"):
        covering_radius(np.zeros((2, 2)), np.zeros(3), 1)
