"""Search for the nearest samples of a gallery, by their ids."""

import hashlib
import numbers
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_one_of, check_whole_number, list_first
from ccp_dml.evaluation.neighbors import (
    NeighborSearch,
    check_vectors,
    distances_to_rows,
    match_queries,
    sort_by_distance,
)
from ccp_dml.inference.approximate_search import (
    INDEXES,
    ApproximateSearch,
    read_index,
    write_index,
)
from ccp_dml.inference.embedding_file import (
    ROWS_AT_A_TIME,
    make_schema,
    make_table,
    open_writer,
    read_embeddings,
)

# An approximate search finds this many times as many candidates, which are then ranked exactly.
_CANDIDATES = 10
# Samples of the gallery that an approximate search is measured with, and neighbours of each.
_MEASURED_QUERIES = 1000
_MEASURED_NEIGHBORS = 10


class SearchQuality(NamedTuple):
    """How an approximate search compares with the exact one, on samples of the gallery.

    Attributes:
        recall_at_10: Fraction of the 10 nearest others (of all, if there are fewer) that are found.
        queries_per_second: Of the approximate search.
        exact_queries_per_second: Of the exact search for the same queries.
    """

    recall_at_10: float
    queries_per_second: float
    exact_queries_per_second: float


class Gallery:
    """Embeddings with their ids, in which the nearest neighbours of queries are found.

    Build one with `Gallery.build` or `Gallery.load`. Distances are Euclidean. The exact search
    holds one copy of the embeddings beside them and is otherwise bounded in memory.

    Attributes:
        embeddings: `(n, d)` float32.
        ids: `(n,)`: integers, or strings as an array of objects.
        labels: `(n,)`, with `None` where unknown, or `None` if there are none.
        networks: Fingerprints of the networks that computed the embeddings, if they are known.
        index: `"exact"`, `"hnsw"` or `"ivf_pq"`.
        quality: A `SearchQuality`, of an approximate index; otherwise `None`.

    Example:

    >>> gallery = Gallery.build(np.array([[0.0], [1.0], [3.0]]), ["a.jpg", "b.jpg", "c.jpg"])
    >>> distances, ids = gallery.search(np.array([[1.5]]), k=2)
    >>> distances.tolist(), ids.tolist()
    ([[0.5, 1.5]], [['b.jpg', 'a.jpg']])
    """

    # Of an index that is not "exact".
    _approximate: ApproximateSearch

    def __init__(
        self,
        embeddings: np.ndarray,
        ids: np.ndarray,
        labels: np.ndarray | None,
        networks: list[str],
    ):
        self.embeddings = embeddings
        self.ids = ids
        self.labels = labels
        self.networks = networks
        self.index = "exact"
        self.quality: SearchQuality | None = None
        self._rows = _unique_index(ids)
        self._exact: NeighborSearch | None = None

    @classmethod
    def build(
        cls,
        embeddings: np.ndarray,
        ids: Sequence[Any] | np.ndarray,
        index: str = "exact",
        labels: Sequence[Any] | np.ndarray | None = None,
        networks: Sequence[str] = (),
    ) -> "Gallery":
        """Makes a gallery of embeddings.

        Args:
            embeddings: `(n, d)`, taken as float32.
            ids: A name for each, all different: strings or integers.
            index: How to search. `"exact"` computes all distances, in blocks. `"hnsw"` (a graph of
                neighbours, with a copy of the embeddings) and `"ivf_pq"` (short codes in cells,
                which need little additional memory) are approximate, take a while to build, and
                require faiss. For many queries at once, the exact search is faster in galleries of
                up to some hundred thousand samples; recall and speed relative to the exact search
                are logged and stored in `quality`. Defaults to `"exact"`.
            labels: Strings or integers, `None` where unknown. Defaults to `None`: there are none.
            networks: Fingerprints of the networks that computed the embeddings, such as
                `ConcatenatedEmbedder.fingerprints`, which are saved with them. Defaults to none.

        Returns:
            The gallery.

        Raises:
            ValueError: If shapes do not fit, there are no embeddings, a value is not finite or not
                below 1e15, ids or labels are neither strings nor integers, an id is repeated, there
                are too few embeddings for the index, or faiss is not installed.
        """
        check_one_of("index", index, ("exact", *INDEXES))
        embeddings = np.ascontiguousarray(check_vectors("embeddings", embeddings), "float32")
        ids = _check_names("ids", ids, len(embeddings))
        if labels is not None:
            labels = _check_names("labels", labels, len(embeddings), optional=True)
        gallery = cls(embeddings, ids, labels, list(networks))
        gallery._take_index(index)
        return gallery

    def __len__(self) -> int:
        return len(self.ids)

    def search(
        self, queries: np.ndarray, k: int, exclude_ids: Sequence[Any] | np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k nearest samples for each query.

        Args:
            queries: `(q, d)`.
            k: Number of samples to find.
            exclude_ids: An id to leave out for each query, its own if it is part of the gallery
                `(q,)`. Ids that are not in the gallery exclude nothing. Defaults to `None`.

        Returns:
            Distances float32 `(q, k)`, nearest first, and ids `(q, k)`; in a tie the first in the
            gallery comes first. Results of an approximate index are ranked by exact distances.

        Raises:
            ValueError: If shapes do not fit, there are no queries, a value is not finite or not
                below 1e15, or k is not between 1 and the size of the gallery, or one less with
                `exclude_ids`.
        """
        queries = check_vectors("queries", queries).astype("float32", copy=False)
        queries, _ = match_queries(queries, self.embeddings)
        own = None
        if exclude_ids is not None:
            exclude_ids = _check_names("exclude_ids", exclude_ids, len(queries), "queries")
            if exclude_ids.dtype.kind != self.ids.dtype.kind and self.ids.dtype.kind == "O":
                raise ValueError(
                    f"exclude_ids must be strings, as the ids are; got {exclude_ids.dtype}"
                )
            if exclude_ids.dtype.kind == "O" and self.ids.dtype.kind != "O":
                raise ValueError(
                    f"exclude_ids must be integers, as the ids are; got {exclude_ids[0]!r}"
                )
            own = self._rows.get_indexer(exclude_ids)
        check_whole_number("k", k, least=1, most=len(self) - (own is not None))
        search = self._search_exactly if self.index == "exact" else self._search_approximately
        distances, rows = search(queries, int(k), own)
        return distances, self.ids[rows]

    def save(self, path: str | os.PathLike):
        """Writes the gallery as a Parquet file.

        Its columns are `path` (or `id`, if the ids are integers), `label` where there are labels,
        and `embedding`; see `ccp_dml.inference.embedding_file`. An approximate index is not part of
        it; see `load`.

        Args:
            path: The file; any path that `etils.epath` knows. An existing file is replaced.

        Raises:
            ValueError: If pyarrow is not installed.
        """
        schema = make_schema(
            self.ids,
            self.labels,
            None,
            self.embeddings.shape[1],
            {"networks": self.networks} if self.networks else {},
        )
        with (
            atomic_write(path) as unfinished,
            unfinished.open("wb") as file,
            open_writer(file, schema) as writer,
        ):
            for start in range(0, len(self), ROWS_AT_A_TIME):
                block = slice(start, start + ROWS_AT_A_TIME)
                labels = None if self.labels is None else self.labels[block]
                table = make_table(schema, self.embeddings[block], self.ids[block], labels)
                writer.write_table(table)

    @classmethod
    def load(cls, path: str | os.PathLike, index: str = "exact") -> "Gallery":
        """Reads a gallery from a Parquet file.

        Args:
            path: The file, with the columns `path` or `id`, `embedding` and, optionally, `label`.
            index: How to search, as for `Gallery.build`. An approximate index is kept beside the
                file, as `<path>.<index>.faiss`, and reused as long as the embeddings are the same.
                Defaults to `"exact"`.

        Returns:
            The gallery.

        Raises:
            ValueError: If there is no such file, it is not a Parquet file, columns are missing, its
                values are not valid for `Gallery.build`, or pyarrow is not installed.
        """
        check_one_of("index", index, ("exact", *INDEXES))
        stored = read_embeddings(path)
        networks = stored.metadata.get("networks", ())
        try:
            gallery = cls.build(
                stored.embeddings, stored.ids, labels=stored.labels, networks=networks
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        gallery._take_index(index, epath.Path(f"{os.fspath(path)}.{index}.faiss"))
        return gallery

    def row_of(self, id: Any) -> int:
        """Returns the row of an id in `embeddings`, `ids` and `labels`.

        Raises:
            KeyError: If it is not in the gallery.
        """
        return self._rows.get_loc(id)

    def _take_index(self, index, path=None):
        """Reads a saved index, or makes it and, if there is a path, saves it."""
        if index == "exact":
            return
        fingerprint = "" if path is None else _fingerprint(self.embeddings, index)
        self.index = index
        if path is not None:
            kept, numbers_of_quality = read_index(path, index, fingerprint)
            if kept is not None:
                self._approximate = kept
                self._set_quality(SearchQuality(*numbers_of_quality), f"read from {path}")
                return
        self._approximate = ApproximateSearch.build(self.embeddings, index)
        quality = self._measure()
        self._set_quality(quality, "built")
        if path is not None:
            write_index(self._approximate, path, fingerprint, quality)

    def _search_exactly(self, queries, k, own):
        if self._exact is None:
            self._exact = NeighborSearch(self.embeddings)
        return self._exact.search(queries, k, own)

    def _search_approximately(self, queries, k, own):
        wanted = min(len(self), _CANDIDATES * k + (own is not None))
        rows = self._approximate.candidates(queries, wanted)
        invalid = rows < 0
        if own is not None:
            invalid |= rows == own[:, None]
        distances = distances_to_rows(queries, self.embeddings, rows)
        distances[invalid] = np.inf
        distances, rows = sort_by_distance(distances, rows, k)
        # The visited cells may contain fewer samples than requested.
        short = np.isinf(distances[:, -1])
        if short.any():
            distances[short], rows[short] = self._search_exactly(
                queries[short], k, None if own is None else own[short]
            )
        return distances, rows

    def _measure(self):
        k = min(_MEASURED_NEIGHBORS, len(self) - 1)
        generator = np.random.default_rng(0)
        count = min(_MEASURED_QUERIES, len(self))
        own = np.sort(generator.choice(len(self), count, replace=False))
        queries = self.embeddings[own]
        results, rates = [], []
        for search in (self._search_approximately, self._search_exactly):
            search(queries, k, own)
            start = time.perf_counter()
            results.append(search(queries, k, own)[0])
            rates.append(count / (time.perf_counter() - start))
        # The copy of the embeddings is only needed for an exact search.
        self._exact = None
        found, exact = results
        # Compares distances, not rows, because any of equally distant samples may be found.
        return SearchQuality(float((found <= exact[:, -1:]).mean()), *rates)

    def _set_quality(self, quality, origin):
        self.quality = quality
        logging.info(
            "%s index of %d embeddings, %s: recall@%d %.3f of exact, %.0f queries/s (exact %.0f).",
            self.index,
            len(self),
            origin,
            min(_MEASURED_NEIGHBORS, len(self) - 1),
            *quality,
        )


def _fingerprint(embeddings, index):
    digest = hashlib.sha256(repr((index, embeddings.shape)).encode())
    digest.update(embeddings.data)
    return digest.hexdigest()


def _check_names(name, values, count, owners="embeddings", optional=False):
    """Returns strings, as an array of objects, or integers."""
    array = np.asarray(values)
    if array.dtype.kind in "OUT":
        array = np.array(values, dtype=object)
        known = array[array != None] if optional else array  # noqa: E711 (elementwise)
        types = {type(value) for value in known.ravel().tolist()}
        if types and all(issubclass(each, numbers.Integral) and each is not bool for each in types):
            array = array if len(known) < len(array) else array.astype("int64")
        elif not all(issubclass(each, str) for each in types):
            allowed = ", or None where unknown" if optional else ""
            found = ", ".join(sorted(each.__name__ for each in types))
            raise ValueError(f"{name} must all be strings or all integers{allowed}; got {found}")
    elif array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"{name} must all be strings or all integers; got {array.dtype}")
    if array.shape != (count,):
        raise ValueError(
            f"{name} must have one entry for each of {count} {owners}; got {array.shape}"
        )
    return array


def _unique_index(ids):
    index = pd.Index(ids)
    if not index.is_unique:
        repeated = index[index.duplicated()].unique()
        raise ValueError(f"ids must be unique; these are repeated: {list_first(repeated, 3)}")
    return index
