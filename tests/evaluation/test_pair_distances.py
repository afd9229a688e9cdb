import numpy as np

from ccp_dml.evaluation import pair_distances


def test_pair_distances_are_those_of_the_pairs(generator):
    embeddings, labels = generator.standard_normal((30, 4)), np.arange(30) % 3
    positive, negative = pair_distances(embeddings, labels)
    assert len(positive) == 30 * 9
    assert len(negative) == 30 * 20
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    same = labels[:, None] == labels[None]
    np.testing.assert_allclose(np.sort(negative), np.sort(distances[~same]), rtol=1e-4)


def test_pair_distances_of_many_classes_keep_positive_pairs(generator):
    labels = np.arange(20_000) % 5_000
    positive, _ = pair_distances(generator.standard_normal((20_000, 4)), labels)
    assert len(positive) == 1000 * 3
