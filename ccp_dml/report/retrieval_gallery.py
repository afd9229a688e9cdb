"""Galleries of queries with the nearest images that each method finds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ccp_dml.report.figures import encode_image
from ccp_dml.report.neighbor_sheet import Tile, draw_neighbors
from ccp_dml.report.page import Answer, Gallery, Note, Section, Thumbnail
from ccp_dml.report.retriever import RetrievalSamples, Retriever, choose_best

# The part of the queries, ordered from hardest to easiest, that each kind is drawn from.
_KINDS = {"easy": (0.9, 1.0), "typical": (0.45, 0.55), "failed": (0.0, 0.1)}
_QUERIES = 3
# The more methods there are, the fewer queries, so that the file stays small.
_MAX_THUMBNAILS = 480
_COARSE = 48
_SEED = 0


def gallery_section(retrievers: Sequence[Retriever], samples: RetrievalSamples) -> Section:
    """Makes the section of easy, typical and failed queries of the best method, with all results.

    Args:
        retrievers: The methods, at least one.
        samples: The samples, which have images.
    """
    best = choose_best(retrievers)
    depth = best.found.nearest.shape[1]
    count = max(1, min(_QUERIES, _MAX_THUMBNAILS // (len(_KINDS) * depth * len(retrievers))))
    chosen = choose_queries(best, samples, count)
    queries = np.unique(np.concatenate(list(chosen.values())))
    nearest = np.concatenate([each.found.nearest[queries].ravel() for each in retrievers])
    nearest = np.unique(nearest[nearest >= 0])
    has_gallery = samples.gallery_labels is not None
    query_sources = _load(samples, queries, False)
    found_sources = _load(samples, nearest, has_gallery)
    place = "the gallery" if has_gallery else "all other test images"
    blocks: list = [
        Note(
            f"Queries and the {depth} nearest of {place}, nearest first: right ones are framed "
            f"green and marked ✓, wrong ones red and marked ✗. Easy, typical and failed queries "
            "are drawn at random from the easiest, middle and hardest tenth of the queries for "
            f"{best.name}."
        )
    ]
    for kind, rows in chosen.items():
        for row in rows.tolist():
            name = samples.name(int(samples.labels[row]))
            source, is_coarse = query_sources[row]
            query = Thumbnail(source, f"Query of class {name}", name, is_coarse=is_coarse)
            answers = [
                _make_answer(retriever, row, samples, found_sources) for retriever in retrievers
            ]
            blocks.append(Gallery(f"{kind.capitalize()} query", query, answers))
    return Section("Queries and their neighbours", blocks)


def draw_queries(retrievers: Sequence[Retriever], samples: RetrievalSamples) -> Figure:
    """Draws an easy, a typical and a failed query of the best method, a row for each method.

    Args:
        retrievers: The methods, at least one.
        samples: The samples, which have images, of at least one class of several.

    Returns:
        A matplotlib figure, as returned by `draw_neighbors`.
    """
    rows = []
    chosen = choose_queries(choose_best(retrievers), samples, 1)
    for kind, query in ((kind, row) for kind, rows in chosen.items() for row in rows):
        label = samples.labels[query]
        (image,) = samples.load(np.asarray([query]), False)
        for retriever in retrievers:
            nearest = retriever.found.nearest[query]
            nearest = nearest[nearest >= 0]
            found = samples.load(nearest, samples.gallery_labels is not None)
            labels = samples.searched_labels[nearest]
            tiles = [
                Tile(each, samples.name(int(neighbor_label)), bool(neighbor_label == label))
                for each, neighbor_label in zip(found, labels, strict=True)
            ]
            rows.append([Tile(image, f"{kind} query\n{retriever.name}"), *tiles])
    return draw_neighbors(rows)


def choose_queries(
    retriever: Retriever, samples: RetrievalSamples, count: int
) -> dict[str, np.ndarray]:
    """Chooses easy, typical and failed queries, of different classes if there are enough.

    Failed queries begin with those whose nearest sample is wrong.

    Args:
        retriever: The method whose results determine which queries are easy.
        samples: The samples.
        count: Number of queries of each kind.

    Returns:
        Rows by kind; fewer if there are not enough queries.
    """
    precision, labels = retriever.found.average_precision, samples.labels
    starts_right = samples.searched_labels[retriever.found.nearest[:, 0]] == labels
    generator = np.random.default_rng(_SEED)
    order = np.argsort(precision, kind="stable")
    order = order[: np.count_nonzero(~np.isnan(precision))]
    chosen = {}
    for kind, (start, end) in _KINDS.items():
        first = min(int(start * len(order)), max(0, len(order) - count))
        part = generator.permutation(order[first : max(first + count, round(end * len(order)))])
        # Samples of classes that already appear come last.
        _, firsts = np.unique(labels[part], return_index=True)
        is_repeated = np.ones(len(part), bool)
        is_repeated[firsts] = False
        is_odd = starts_right[part] if kind == "failed" else np.zeros(len(part), bool)
        chosen[kind] = part[np.lexsort((is_repeated, is_odd))][:count]
    return chosen


def _load(samples, rows, from_gallery):
    """Loads data URIs of images, and whether they are coarse, by row."""
    images = samples.load(rows, from_gallery)
    return {
        row: (encode_image(image), max(image.shape[:2]) < _COARSE)
        for row, image in zip(rows.tolist(), images, strict=True)
    }


def _make_answer(retriever, row, samples, sources):
    label = samples.labels[row]
    found = []
    for rank, neighbor in enumerate(retriever.found.nearest[row].tolist(), start=1):
        if neighbor < 0:
            continue
        is_right = bool(samples.searched_labels[neighbor] == label)
        name = samples.name(int(samples.searched_labels[neighbor]))
        source, is_coarse = sources[neighbor]
        what = "right" if is_right else "wrong"
        found.append(
            Thumbnail(source, f"Nearest {rank}: {name}, {what}", name, is_right, is_coarse)
        )
    precision = retriever.found.average_precision[row]
    return Answer(f"{retriever.name} (average precision {precision:.2f})", found)
