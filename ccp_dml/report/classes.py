"""Sections on hard classes, and on classes that are confused with each other."""

from collections.abc import Sequence

import numpy as np

from ccp_dml.report.figures import add_legend, line_styles, panel, thin_out, to_picture
from ccp_dml.report.page import Note, Section, Table
from ccp_dml.report.retriever import RetrievalSamples, Retriever, choose_best

_ROWS = 12
_MAX_POINTS = 300


def class_section(retrievers: Sequence[Retriever], samples: RetrievalSamples) -> Section:
    """Makes the section on MAP@R by class, the hardest classes, and the most confused pairs.

    Args:
        retrievers: The methods, at least one.
        samples: The samples that they embed.
    """
    best = choose_best(retrievers)
    labels = np.unique(samples.labels)
    by_class = {each.name: average_by_class(each, samples, labels) for each in retrievers}
    blocks = [
        Note(
            "The results of each class, of which only the mean is shown above. The tables are "
            f"ordered by {best.name}, the method with the highest MAP@R."
        ),
        _draw_classes(by_class),
        _tabulate_hardest(by_class, best.name, labels, samples),
        _tabulate_confusions(retrievers, best, samples),
    ]
    return Section("Classes", [block for block in blocks if block is not None])


def average_by_class(
    retriever: Retriever, samples: RetrievalSamples, labels: np.ndarray
) -> np.ndarray:
    """Averages the average precision of the queries of each class.

    Args:
        retriever: The method.
        samples: The samples.
        labels: The classes `(C,)`, in ascending order.

    Returns:
        `(C,)`, NaN where no query has anything to find.
    """
    known = ~np.isnan(retriever.found.average_precision)
    class_indices = np.searchsorted(labels, samples.labels[known])
    counts = np.bincount(class_indices, minlength=len(labels))
    sums = np.bincount(class_indices, retriever.found.average_precision[known], len(labels))
    return np.divide(sums, counts, out=np.full(len(labels), np.nan), where=counts > 0)


def count_confusions(retriever: Retriever, samples: RetrievalSamples) -> dict[tuple[int, int], int]:
    """Counts the queries of two classes whose nearest image is of the other class.

    Args:
        retriever: The method.
        samples: The samples.

    Returns:
        Counts by pairs of classes, the smaller label first; pairs that are never confused are
        absent.
    """
    nearest = retriever.found.nearest[:, 0]
    known = nearest >= 0
    pairs = np.stack([samples.labels[known], samples.searched_labels[nearest[known]]], axis=1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    return dict(zip(map(tuple, distinct.tolist()), counts.tolist(), strict=True))


def _draw_classes(by_class):
    styles = line_styles(list(by_class))
    title = "MAP@R of the classes, in order"
    with panel(title) as axes:
        for name, values in by_class.items():
            values = np.sort(values[~np.isnan(values)])
            rows = thin_out(len(values), _MAX_POINTS)
            share = 100 * (rows + 0.5) / len(values)
            axes.plot(share, values[rows], **styles[name], label=name)
        axes.set(title=title, xlabel="% of the classes", xlim=(0, 100), ylim=(0, 1))
        add_legend(axes)
        return to_picture(
            axes,
            f"{title}, a line for each of {', '.join(by_class)}.",
            "Each method's classes from its hardest (left) to its easiest (right): a line that "
            "lies higher on the left helps the hard classes.",
        )


def _tabulate_hardest(by_class, best, labels, samples):
    sizes = np.bincount(np.searchsorted(labels, samples.labels), minlength=len(labels))
    # Ties are ordered by size, largest first, then by label.
    order = np.lexsort((labels, -sizes, by_class[best]))
    hardest = [row for row in order if not np.isnan(by_class[best][row])][:_ROWS]
    rows = [
        (
            samples.name(int(labels[row])),
            str(sizes[row]),
            *(f"{values[row]:.3f}" for values in by_class.values()),
        )
        for row in hardest
    ]
    return Table(
        ["class", "queries", *by_class],
        rows,
        f"The {len(rows)} hardest of {len(labels)} classes: mean MAP@R of their queries.",
        ["class"],
    )


def _tabulate_confusions(retrievers, best, samples):
    counts = {each.name: count_confusions(each, samples) for each in retrievers}
    most = sorted(counts[best.name].items(), key=lambda item: (-item[1], item[0]))[:_ROWS]
    if not most:
        return None
    rows = [
        (
            samples.name(one),
            samples.name(other),
            str(np.isin(samples.labels, (one, other)).sum()),
            *(str(found.get((one, other), 0)) for found in counts.values()),
        )
        for (one, other), _ in most
    ]
    return Table(
        ["class", "and", "queries", *counts],
        rows,
        "The pairs of classes confused most often: how many of their queries have an image of "
        "the other class as their nearest.",
        ["class", "and"],
    )
