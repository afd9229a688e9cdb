"""Test samples whose images show their labels, and methods that embed them."""

import numpy as np

from ccp_dml.report import RetrievalSamples, Retriever, make_retriever


def draw_images(labels, rows):
    """Grey images that have the label of the sample as their value."""
    images = np.zeros((len(rows), 8, 8, 1), "uint8")
    return images + labels[rows].astype("uint8")[:, None, None, None]


def make_samples(labels, gallery_labels=None, class_names=None) -> RetrievalSamples:
    def load_images(rows, from_gallery):
        return draw_images(gallery_labels if from_gallery else labels, rows)

    return RetrievalSamples(labels, gallery_labels, class_names, load_images)


def make_retrievers(samples, generator, noise=(3.0, 1.0, 0.5)) -> list[Retriever]:
    """Methods from bad to good: `before`, `plain` and so on."""
    centers = generator.normal(size=(samples.all_labels.max() + 1, 6))

    def embed(labels, size):
        vectors = centers[labels] + size * generator.normal(size=(len(labels), 6))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")

    retrievers = []
    for name, size in zip(("before", "plain", "ccp"), noise, strict=False):
        gallery = samples.gallery_labels
        gallery = None if gallery is None else embed(gallery, size)
        retrievers.append(make_retriever(name, embed(samples.labels, size), gallery, samples))
    return retrievers
