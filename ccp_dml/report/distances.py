"""Histograms of the distances of positive and of negative pairs."""

from collections.abc import Sequence

import numpy as np

from ccp_dml.evaluation import covering_radius, pair_distances
from ccp_dml.report.figures import add_legend, line_styles, panel, to_picture
from ccp_dml.report.page import Note, Section
from ccp_dml.report.retriever import RetrievalSamples, Retriever

_BINS = 50
# With more centres, the covering radius shows little more.
_CENTERS = 8


def distance_section(retrievers: Sequence[Retriever], samples: RetrievalSamples) -> Section:
    """Makes the section of distance histograms and of the covering radius of test classes.

    Args:
        retrievers: The methods.
        samples: The samples that they embed.
    """
    labels = samples.all_labels
    pairs = [pair_distances(retriever.embeddings, labels) for retriever in retrievers]
    edges = np.linspace(0, max(each.max() for pair in pairs for each in pair if len(each)), _BINS)
    pictures = [
        _draw_histogram(retriever.name, *pair, edges)
        for retriever, pair in zip(retrievers, pairs, strict=True)
    ]
    note = Note(
        "Distances between test embeddings of the same class (positive pairs) and of different "
        "classes (negative pairs), of at most 1,000 images. The less the two overlap, the better "
        "a distance tells classes apart."
    )
    return Section("Distances of pairs", [note, *pictures, _draw_radii(retrievers, labels)])


def _draw_histogram(name, positive, negative, edges):
    with panel(f"distances of {name}", height=2.2) as axes:
        axes.hist(
            negative,
            edges,
            density=True,
            # A single shape takes less space in the file than bars.
            histtype="stepfilled",
            color="#dd7a14",
            alpha=0.45,
            label="different classes",
        )
        axes.hist(
            positive,
            edges,
            density=True,
            histtype="step",
            linewidth=1.8,
            color="#2f7fd0",
            label="same class",
        )
        axes.set(title=name, xlabel="distance", yticks=[])
        add_legend(axes)
        closer = (negative < np.median(positive)).mean() if len(positive) else 0
        return to_picture(
            axes,
            f"Histogram of the distances of positive and negative pairs, {name}.",
            f"{name}: {closer:.1%} of the pairs of different classes are closer than half of the "
            "pairs of the same class.",
        )


def _draw_radii(retrievers, labels):
    styles = line_styles([retriever.name for retriever in retrievers])
    title = "Covering radius of the test classes"
    with panel(title, height=2.2) as axes:
        for retriever in retrievers:
            radii = covering_radius(retriever.embeddings, labels, _CENTERS).mean(axis=0)
            axes.plot(
                np.arange(1, _CENTERS + 1), radii, **styles[retriever.name], label=retriever.name
            )
        axes.set(title=title, xlabel="number of centres", ylim=(0, None))
        add_legend(axes)
        return to_picture(
            axes,
            f"{title} by the number of centres.",
            "The largest distance from an image of a class to the nearest of 1 to 8 centres, "
            "averaged over the classes: the lower the line, the better a few proxies stand for a "
            "class.",
        )
