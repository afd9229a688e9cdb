"""Search for near-duplicates and wrong labels in a data set with a trained network."""

import dataclasses
import os

import numpy as np
import pandas as pd
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_whole_number
from ccp_dml.data import ImageListing
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.evaluation import (
    duplicate_distance,
    find_near_duplicates,
    find_suspicious_labels,
    nearest_neighbors,
)
from ccp_dml.experiment.embedding import embed_images
from ccp_dml.inference import ConcatenatedEmbedder
from ccp_dml.inference.embedding_file import read_embeddings
from ccp_dml.report import (
    Note,
    Section,
    Tile,
    load_thumbnail,
    neighbor_section,
    render_page,
)

EMBEDDINGS, PAGE = "embeddings.parquet", "inspection.html"
DUPLICATES, SUSPICIOUS = "duplicates.csv", "suspicious_labels.csv"
_SUSPICIOUS_COLUMNS = (
    "path",
    "split",
    "label",
    "suggested_label",
    "votes",
    "neighbors",
    "distance",
)
# Number of neighbours among which to look for duplicates; numbers of images, and of their
# neighbours, on the page.
_NEIGHBORS = 10
_DRAWN = 40
_THUMBNAIL = 96
_DRAWN_NEIGHBORS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Inspection:
    """Findings in a data set.

    Attributes:
        max_distance: Pairs of images at this distance or less are near-duplicates.
        duplicates: A row for each pair, with `path_a`, `path_b`, `split_a`, `split_b`, `label_a`,
            `label_b`, `distance`, and `across_splits`: those across splits first, then the nearest.
        suspicious: A row for each image, with `path`, `split`, `label`, `suggested_label`, `votes`,
            how many of its `neighbors` nearest ones have it, and `distance`, from the nearest that
            has it; images with the most votes first.
        nearest: The neighbours for each row of `suspicious`, as rows of the embeddings `(s, k)`.
        paths: Ids of the images, in the order of the embeddings.
        labels: Their classes, `None` where unknown.
        has_labels: Whether there are labels to inspect, at least two.
        files: Names of the files written.
    """

    max_distance: float
    duplicates: pd.DataFrame
    suspicious: pd.DataFrame
    nearest: np.ndarray
    paths: list
    labels: list
    has_labels: bool
    files: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """A summary in two sentences."""
        across = int(self.duplicates["across_splits"].sum())
        if not self.has_labels:
            label_summary = "There are no labels to inspect."
        else:
            label_summary = (
                f"For {len(self.suspicious)} images, all neighbours have another label; those "
                "whose neighbours agree most on one label are listed first."
            )
        return (
            f"{len(self.duplicates)} pairs of {len(self.paths)} images are near-duplicates, at a "
            f"distance of {self.max_distance:.4g} or less, {across} of them across splits. "
            f"{label_summary}"
        )


def inspect_images(
    embedder: ConcatenatedEmbedder,
    listing: ImageListing,
    folder: str | os.PathLike,
    k: int = 10,
    max_distance: float | None = None,
    batch_size: int = 256,
    max_bad_images: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Inspection:
    """Embeds images and writes what their neighbours reveal about them.

    It writes `embeddings.parquet`, which is reused for the same images, `duplicates.csv`,
    `suspicious_labels.csv`, and `inspection.html`, a page with the first of both.

    Args:
        embedder: The networks.
        listing: The images.
        folder: Folder for the files; any path that `etils.epath` knows, created if it does not
            exist.
        k: Number of neighbours that must all have another label. Defaults to 10, or fewer if there
            are not that many.
        max_distance: The largest distance of near-duplicates. Defaults to `None`: see
            `ccp_dml.evaluation.duplicate_distance`.
        batch_size: Number of images to embed at a time. Defaults to 256.
        max_bad_images: Largest number of images that may be left out because they cannot be
            decoded. Defaults to 0.
        max_pixels: Largest number of pixels, width times height, of an image. Defaults to 50
            million.

    Returns:
        The findings.

    Raises:
        ValueError: If there are fewer than two images, or a number is out of range; see also
            `embed_images`.
        OSError: If an image cannot be read, or a file cannot be written.
    """
    k = check_whole_number("k", k, least=1)
    if len(listing) < 2:
        raise ValueError(f"there must be at least 2 images to compare; got {len(listing)}")
    output = epath.Path(folder)
    embed_images(embedder, listing, output / EMBEDDINGS, batch_size, max_bad_images, max_pixels)
    stored = read_embeddings(output / EMBEDDINGS)
    inspection = inspect_embeddings(
        stored.embeddings, stored.ids, stored.labels, stored.splits, k, max_distance
    )
    files = [EMBEDDINGS]
    for name, table in ((DUPLICATES, inspection.duplicates), (SUSPICIOUS, inspection.suspicious)):
        with atomic_write(output / name) as unfinished, unfinished.open("w") as file:
            table.to_csv(file, index=False, float_format="%.6g")
        files.append(name)
    page = render_page("Inspection", _make_sections(inspection, listing))
    with atomic_write(output / PAGE) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    files.append(PAGE)
    return dataclasses.replace(inspection, files=tuple(files))


def inspect_embeddings(
    embeddings: np.ndarray,
    paths: list,
    labels: list | None = None,
    splits: list | None = None,
    k: int = 10,
    max_distance: float | None = None,
) -> Inspection:
    """Finds near-duplicates and suspicious labels among embeddings.

    Only images with labels are compared to find suspicious labels.

    Args:
        embeddings: `(n, d)`, at least two.
        paths: A name for each `(n,)`.
        labels: `(n,)`, `None` where unknown. Defaults to `None`: all are unknown.
        splits: `(n,)`, `None` where there is none. Defaults to `None`: there are none.
        k: See `inspect_images`. Defaults to 10.
        max_distance: See `inspect_images`. Defaults to `None`.

    Returns:
        The findings.

    Raises:
        ValueError: If shapes do not fit or a number is out of range.
    """
    k = check_whole_number("k", k, least=1)
    labels = labels or [None] * len(paths)
    splits = splits or [None] * len(paths)
    labeled = np.flatnonzero([label is not None for label in labels])
    # One search is enough for both, unless some have no label.
    depth = max(_NEIGHBORS, k) if len(labeled) == len(paths) else _NEIGHBORS
    distances, neighbors = _search(embeddings, depth)
    if max_distance is None:
        max_distance = duplicate_distance(distances)
    pairs = find_near_duplicates(distances[:, :_NEIGHBORS], neighbors[:, :_NEIGHBORS], max_distance)
    duplicates = _tabulate_pairs(pairs, paths, labels, splits)
    if 1 < len(labeled) < len(paths):
        distances, neighbors = _search(embeddings[labeled], k)
    suspicious, nearest = _find_suspicious(
        labeled, distances[:, :k], neighbors[:, :k], paths, labels, splits
    )
    return Inspection(
        max_distance, duplicates, suspicious, nearest, paths, labels, len(labeled) >= 2
    )


def _search(embeddings, k):
    rows = np.arange(len(embeddings))
    return nearest_neighbors(embeddings, embeddings, min(k, len(embeddings) - 1), rows)


def _tabulate_pairs(pairs, paths, labels, splits):
    first, second = pairs.first.tolist(), pairs.second.tolist()
    columns = {
        f"{name}_{side}": [values[row] for row in rows]
        for name, values in (("path", paths), ("split", splits), ("label", labels))
        for side, rows in (("a", first), ("b", second))
    }
    table = pd.DataFrame({**columns, "distance": pairs.distances})
    known = table["split_a"].notna() & table["split_b"].notna()
    table["across_splits"] = known & (table["split_a"] != table["split_b"])
    return table.sort_values(
        ["across_splits", "distance"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _find_suspicious(labeled, distances, neighbors, paths, labels, splits):
    """Returns the table of suspicious labels, and the neighbours of each of its rows.

    Args:
        labeled: Rows of the images with labels, among which the neighbours are.
        distances: Distances from them.
        neighbors: The neighbours, as positions in `labeled`.
        paths: Of all images.
        labels: Of all images.
        splits: Of all images.
    """
    if len(labeled) < 2:
        columns = pd.DataFrame(columns=_SUSPICIOUS_COLUMNS)
        return columns, np.zeros((0, neighbors.shape[1]), int)
    found = find_suspicious_labels(distances, neighbors, np.array([labels[row] for row in labeled]))
    nearest = labeled[neighbors[found.rows]]
    found = found._replace(rows=labeled[found.rows])
    return _tabulate_suspicious(found, neighbors.shape[1], paths, labels, splits), nearest


def _tabulate_suspicious(found, neighbors, paths, labels, splits):
    rows = found.rows.tolist()
    columns = (
        [paths[row] for row in rows],
        [splits[row] for row in rows],
        [labels[row] for row in rows],
        found.suggested,
        found.votes,
        neighbors,
        found.distances,
    )
    return pd.DataFrame(dict(zip(_SUSPICIOUS_COLUMNS, columns, strict=True)))


def _make_sections(inspection, listing):
    sections = []
    for title, file, table, note, show in (
        (
            "Near-duplicates",
            DUPLICATES,
            inspection.duplicates,
            f"Pairs of images at a distance of {inspection.max_distance:.4g} or less, those in "
            "different splits first, then the nearest.",
            _show_pair,
        ),
        (
            "Suspicious labels",
            SUSPICIOUS,
            inspection.suspicious,
            "Images whose neighbours all have another label; those whose neighbours agree most "
            "on one label come first. ✓ marks neighbours with the suggested label.",
            _show_suspicious,
        ),
    ):
        shown = [show(inspection, listing, row) for row in range(min(_DRAWN, len(table)))]
        titles, rows = [title for title, _ in shown], [tiles for _, tiles in shown]
        note = f"{note} {len(shown)} of {len(table)} are shown; all are in {file}."
        sections.append(neighbor_section(title, note, rows, titles))
    return [Section("Summary", [Note(inspection.summary)]), *sections]


def _show_pair(inspection, listing, place):
    """Returns a title, and tiles of the two images of a pair."""
    pair = inspection.duplicates.iloc[place]
    where = "Across splits" if pair.across_splits else "Within a split"
    names = [
        _name(pair.split_a, pair.label_a, pair.path_a),
        _name(pair.split_b, pair.label_b, pair.path_b),
    ]
    tiles = [
        _make_tile(listing, path, name)
        for path, name in zip((pair.path_a, pair.path_b), names, strict=True)
    ]
    return f"{where}, distance {pair.distance:.3g}: {names[0]} and {names[1]}", tiles


def _show_suspicious(inspection, listing, place):
    """Returns a title, and tiles of an image and its neighbours."""
    image = inspection.suspicious.iloc[place]
    tiles = [_make_tile(listing, image.path, _name(image.split, image.label, image.path))]
    for row in inspection.nearest[place, :_DRAWN_NEIGHBORS].tolist():
        label = inspection.labels[row]
        is_suggested = bool(label == image.suggested_label)
        tiles.append(_make_tile(listing, inspection.paths[row], str(label), is_suggested))
    title = (
        f"{image.label}, or {image.suggested_label}? {image.votes} of {image.neighbors} "
        f"neighbours of {os.path.basename(str(image.path))} suggest the latter"
    )
    return title, tiles


def _make_tile(listing, path, caption, is_right=None):
    image = load_thumbnail(path, _THUMBNAIL) if listing.in_files else listing.images[path]
    return Tile(image, caption, is_right)


def _name(split, label, path):
    known = [str(each) for each in (split, label) if not pd.isna(each)]
    return " ".join([*known, os.path.basename(str(path))])
