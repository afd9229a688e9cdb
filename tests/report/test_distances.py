"""Histograms of distances."""

import numpy as np
import pytest

from ccp_dml.report.distances import distance_section
from tests.report.retrieval_cases import make_retrievers, make_samples


def test_the_share_of_close_negative_pairs(generator):
    samples = make_samples(generator.integers(0, 5, 60))
    retrievers = make_retrievers(samples, generator)
    _, *pictures, radii = distance_section(retrievers, samples).blocks
    assert len(pictures) == 3
    for retriever, picture in zip(retrievers, pictures, strict=True):
        positive, negative = [], []
        for first in range(60):
            for second in range(60):
                if first != second:
                    distance = np.linalg.norm(
                        retriever.embeddings[first] - retriever.embeddings[second]
                    )
                    is_same = samples.labels[first] == samples.labels[second]
                    (positive if is_same else negative).append(distance)
        share = np.mean(np.array(negative) < np.median(positive))
        name, _, sentence = picture.caption.partition(": ")
        assert name == retriever.name
        assert float(sentence.split("%")[0]) == pytest.approx(100 * share, abs=0.06)
    assert all(f">{retriever.name}<" in radii.svg for retriever in retrievers)


def test_queries_and_gallery_are_taken_together(generator):
    labels = np.arange(20) % 4
    # No two queries share a class, but each shares its class with an image in the gallery.
    samples = make_samples(np.arange(20), np.arange(20))
    (retriever,) = make_retrievers(samples, generator, noise=[0.0])
    assert len(retriever.embeddings) == 40
    _, picture, _ = distance_section([retriever], samples).blocks
    assert picture.caption.startswith("before: 0.0%")
    assert labels.max() == 3
