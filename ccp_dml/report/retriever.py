"""Test samples, and the methods that embed them, for the sections of a report."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ccp_dml.data import LabeledSamples
from ccp_dml.evaluation import QueryRetrieval, retrieval_by_query
from ccp_dml.report.thumbnails import make_thumbnails

NEIGHBORS = 10
"""Number of nearest images that a report shows."""


@dataclasses.dataclass(frozen=True, eq=False)
class RetrievalSamples:
    """The queries, and the samples that are searched.

    Attributes:
        labels: Classes of the queries `(n,)`.
        gallery_labels: Classes of the gallery `(m,)`; `None` if the queries are searched among
            themselves.
        class_names: A name for each label. Defaults to `None`: the labels themselves.
        load_images: Function that returns small images of some rows, uint8 `(k, height, width,
            channels)`, of the gallery if the second argument is true, otherwise of the queries.
            Defaults to `None`: there are no images.
    """

    labels: np.ndarray
    gallery_labels: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    load_images: Callable[[np.ndarray, bool], np.ndarray] | None = None

    @property
    def searched_labels(self) -> np.ndarray:
        """Classes of the searched samples: the gallery, or the queries themselves."""
        return self.labels if self.gallery_labels is None else self.gallery_labels

    @property
    def all_labels(self) -> np.ndarray:
        """Classes of all samples, queries first."""
        if self.gallery_labels is None:
            return self.labels
        return np.concatenate([self.labels, self.gallery_labels])

    def name(self, label: int) -> str:
        """Returns the name of a class."""
        return str(label) if self.class_names is None else self.class_names[label]

    def load(self, rows: np.ndarray, from_gallery: bool) -> np.ndarray:
        """What `load_images` gives.

        Raises:
            ValueError: If there are no images.
        """
        if self.load_images is None:
            raise ValueError("the samples have no images")
        return self.load_images(rows, from_gallery)

    def load_all(self, rows: np.ndarray) -> np.ndarray:
        """Loads small images of rows of all samples, queries first."""
        is_query = rows < len(self.labels)
        parts = [
            self.load(part, from_gallery)
            for part, from_gallery in (
                (rows[is_query], False),
                (rows[~is_query] - len(self.labels), True),
            )
            if len(part)
        ]
        images = np.concatenate(parts)
        in_order = np.empty_like(images)
        in_order[np.concatenate([np.flatnonzero(is_query), np.flatnonzero(~is_query)])] = images
        return in_order


def make_samples(
    queries: LabeledSamples,
    gallery: LabeledSamples | None = None,
    class_names: Sequence[str] | None = None,
) -> RetrievalSamples:
    """Makes samples with thumbnails of their images, which are read when needed.

    Args:
        queries: The queries.
        gallery: The samples to search. Defaults to `None`: the queries themselves.
        class_names: A name for each label. Defaults to `None`: the labels themselves.
    """

    def load_images(rows, from_gallery):
        return make_thumbnails(queries if gallery is None or not from_gallery else gallery, rows)

    gallery_labels = None if gallery is None else gallery.labels
    return RetrievalSamples(queries.labels, gallery_labels, class_names, load_images)


@dataclasses.dataclass(frozen=True, eq=False)
class Retriever:
    """A method with its results.

    Attributes:
        name: Its name.
        embeddings: Embeddings of all samples, queries first `(n + m, d)`.
        found: The nearest samples of each query, and its average precision.
    """

    name: str
    embeddings: np.ndarray
    found: QueryRetrieval

    @property
    def map_at_r(self) -> float:
        return float(np.nanmean(self.found.average_precision))


def make_retriever(
    name: str,
    embeddings: np.ndarray,
    gallery_embeddings: np.ndarray | None,
    samples: RetrievalSamples,
) -> Retriever:
    """Searches the samples with the embeddings of a method.

    Args:
        name: Name of the method.
        embeddings: Embeddings of the queries `(n, d)`.
        gallery_embeddings: Embeddings of the gallery `(m, d)`, if there is one.
        samples: The samples.
    """
    found = retrieval_by_query(
        embeddings, samples.labels, gallery_embeddings, samples.gallery_labels, NEIGHBORS
    )
    parts = [embeddings] if gallery_embeddings is None else [embeddings, gallery_embeddings]
    return Retriever(name, np.concatenate(parts), found)


def choose_best(retrievers: Sequence[Retriever]) -> Retriever:
    """Returns the method with the highest MAP@R, in a tie the first."""
    return max(retrievers, key=lambda retriever: retriever.map_at_r)
