"""Searches a gallery in a file for images in files."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ccp_dml.checks import printable
from ccp_dml.data import list_images
from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.inference import ConcatenatedEmbedder, Gallery
from ccp_dml.inference.embedding_file import read_metadata
from ccp_dml.report import Tile, draw_neighbors, load_thumbnail, terminal_table

# Number of queries, and of neighbours of each, to draw.
_DRAWN_QUERIES = 20
_DRAWN_NEIGHBORS = 12


class Neighbor(NamedTuple):
    """An image that was found for a query.

    Attributes:
        rank: Rank, from 1 for the nearest.
        distance: Distance from the query.
        path: The id in the gallery, which is the path of a file.
        label: Its class, `None` if it is unknown.
    """

    rank: int
    distance: float
    path: Any
    label: Any


class Query(NamedTuple):
    """A query with its results.

    Attributes:
        path: The file.
        label: Its class, if the folder or list of the queries has classes; `None` if not.
        neighbors: The images found, nearest first.
    """

    path: str
    label: Any
    neighbors: list[Neighbor]


def search_images(
    embedder: ConcatenatedEmbedder,
    gallery_path: str | os.PathLike,
    query: str | os.PathLike,
    k: int = 10,
    index: str = "exact",
    exclude_self: bool = False,
    batch_size: int = 256,
    max_pixels: int = MAX_PIXELS,
) -> list[Query]:
    """Finds the k nearest images of a gallery for one or more images.

    Args:
        embedder: The networks that the gallery was embedded with.
        gallery_path: The Parquet file; see `ccp_dml.inference.embedding_file`.
        query: An image, or anything else that `ccp_dml.data.list_images` takes.
        k: Number of images to find. Defaults to 10.
        index: How to search; see `Gallery.load`. Defaults to `"exact"`.
        exclude_self: Whether to leave out a query that is itself in the gallery, a file of the same
            absolute path. Copies under other names are found. Defaults to `False`.
        batch_size: Number of queries to embed at a time. Defaults to 256.
        max_pixels: Largest number of pixels, width times height, of a query. Defaults to 50
            million.

    Returns:
        The queries in the order of the listing.

    Raises:
        ValueError: If the gallery belongs to other networks or another size of embeddings, k is not
            between 1 and the size of the gallery, or an image is damaged; see also `Gallery.load`
            and `list_images`.
        OSError: If an image cannot be read.
    """
    listing = list_images(query)
    # Before the gallery is read, which takes longer.
    _check_networks(gallery_path, read_metadata(gallery_path).get("networks"), embedder)
    gallery = Gallery.load(gallery_path, index)
    size = gallery.embeddings.shape[1]
    if size != embedder.embedding_size:
        raise ValueError(
            f"{gallery_path} has embeddings of size {size}, but those of the networks have size "
            f"{embedder.embedding_size}: name the networks with which the gallery was embedded"
        )
    # Ids that are numbers do not refer to files.
    exclude_ids = listing.images if exclude_self and gallery.ids.dtype.kind == "O" else None
    embeddings = embedder.embed(listing.images, batch_size, max_pixels)
    distances, found = gallery.search(embeddings, k, exclude_ids)
    labels = listing.labels or [None] * len(listing)
    return [
        Query(path, label, _make_neighbors(gallery, *results))
        for path, label, *results in zip(
            listing.images, labels, distances.tolist(), found.tolist(), strict=True
        )
    ]


def format_queries(queries: Sequence[Query]) -> str:
    """Formats results as a table for a terminal."""
    rows = [
        {
            "query": printable(query.path),
            "rank": str(neighbor.rank),
            "distance": f"{neighbor.distance:.4f}",
            "path": printable(str(neighbor.path)),
            "label": "" if neighbor.label is None else printable(str(neighbor.label)),
        }
        for query in queries
        for neighbor in query.neighbors
    ]
    return terminal_table(pd.DataFrame(rows))


def as_records(queries: Sequence[Query]) -> list[dict[str, Any]]:
    """Returns results as dictionaries of JSON values."""
    return [
        {**query._asdict(), "neighbors": [neighbor._asdict() for neighbor in query.neighbors]}
        for query in queries
    ]


def draw_queries(queries: Sequence[Query]) -> Figure:
    """Draws the first 20 queries and the first 12 neighbours of each, with their labels.

    Args:
        queries: At least one.

    Returns:
        A matplotlib figure, to be saved with `savefig`.
    """
    rows = []
    for query in queries[:_DRAWN_QUERIES]:
        tiles = [Tile(load_thumbnail(query.path), _caption("query", query.path, query.label))]
        for neighbor in query.neighbors[:_DRAWN_NEIGHBORS]:
            image = load_thumbnail(neighbor.path) if isinstance(neighbor.path, str) else None
            caption = _caption(f"{neighbor.distance:.3f}", neighbor.path, neighbor.label)
            known = None not in (query.label, neighbor.label)
            is_right = str(neighbor.label) == str(query.label) if known else None
            tiles.append(Tile(image, caption, is_right))
        rows.append(tiles)
    return draw_neighbors(rows)


def _check_networks(gallery_path, networks, embedder):
    if networks and list(networks) != embedder.fingerprints:
        raise ValueError(
            f"{gallery_path} was embedded with other networks ({', '.join(networks)}) than those "
            f"given ({', '.join(embedder.fingerprints)}): name the same networks in the same "
            "order, or embed the images again with these"
        )


def _make_neighbors(gallery, distances, found):
    labels = [
        None if gallery.labels is None else gallery.labels[gallery.row_of(name)] for name in found
    ]
    return [
        # Labels in an array of integers are NumPy scalars, which JSON cannot represent.
        Neighbor(rank, distance, path, label.item() if isinstance(label, np.generic) else label)
        for rank, (distance, path, label) in enumerate(
            zip(distances, found, labels, strict=True), start=1
        )
    ]


def _caption(first, path, label):
    name = os.path.basename(str(path))
    return f"{first}\n{name if label is None else label}"
