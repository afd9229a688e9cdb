"""Approximate nearest neighbours with faiss."""

import json
import os
from collections.abc import Sequence

import numpy as np
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_at_least

INDEXES = ("hnsw", "ivf_pq")

# Number of links of a sample in the graph, and of candidates to choose them from.
_LINKS = 32
_CONSTRUCTION_DEPTH = 80
# Least number of samples that a search of the graph visits.
_SEARCH_DEPTH = 128
# A code of 8 bits for this many values of an embedding; faiss asks for 39 samples to learn each of
# the 256 codes from.
_VALUES_PER_CODE = 4
_MIN_SAMPLES = 39 * 256
_MAX_TRAINING_SAMPLES = 2**18
# Number of cells that a search visits, of 4 √n.
_SEARCHED_CELLS = 64
# Number of rows to add at a time.
_BLOCK = 2**16


class ApproximateSearch:
    """A faiss index.

    Make one with `ApproximateSearch.build` or `read_index`.

    Args:
        faiss_index: The index, with its samples.
        is_graph: Whether it is a graph of neighbours.
    """

    def __init__(self, faiss_index, is_graph):
        self.faiss_index = faiss_index
        self._is_graph = is_graph

    @classmethod
    def build(cls, embeddings: np.ndarray, index: str) -> "ApproximateSearch":
        """Makes an index of embeddings.

        Args:
            embeddings: `(n, d)` float32, contiguous.
            index: `"hnsw"` or `"ivf_pq"`.

        Raises:
            ValueError: If faiss is not installed, or there are too few embeddings for `"ivf_pq"`.
        """
        faiss = _import_faiss(index)
        count, size = embeddings.shape
        if index == "hnsw":
            faiss_index = faiss.IndexHNSWFlat(size, _LINKS)
            faiss_index.hnsw.efConstruction = _CONSTRUCTION_DEPTH
        else:
            check_at_least("the number of embeddings for index='ivf_pq'", count, _MIN_SAMPLES)
            cells = min(int(4 * count**0.5), count // 39)
            most = max(1, size // _VALUES_PER_CODE)
            codes = max(number for number in range(1, most + 1) if size % number == 0)
            faiss_index = faiss.IndexIVFPQ(faiss.IndexFlatL2(size), size, cells, codes, 8)
            faiss_index.nprobe = _SEARCHED_CELLS
            faiss_index.train(_sample(embeddings, _MAX_TRAINING_SAMPLES))
        for start in range(0, count, _BLOCK):
            faiss_index.add(embeddings[start : start + _BLOCK])
        return cls(faiss_index, index == "hnsw")

    def candidates(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Finds samples that are probably among the nearest.

        Args:
            queries: `(n, d)` float32.
            count: Number of samples to find.

        Returns:
            Rows `(n, count)` of the embeddings, −1 where fewer are found.
        """
        if self._is_graph:
            self.faiss_index.hnsw.efSearch = max(_SEARCH_DEPTH, count)
        return self.faiss_index.search(np.ascontiguousarray(queries), count)[1]


def write_index(
    search: ApproximateSearch, path: epath.Path, fingerprint: str, quality: Sequence[float]
):
    """Saves an index in a file, with a file `<path>.json` that describes it.

    If it cannot be written, a message is logged and no error is raised.

    Args:
        search: The index.
        path: The file, which has to be local.
        fingerprint: Fingerprint of the embeddings in it.
        quality: Numbers that describe its quality.
    """
    faiss = _import_faiss("hnsw")
    try:
        # Without a description the index is not used, so that the two always belong together.
        _description(path).unlink(missing_ok=True)
        with atomic_write(path) as unfinished:
            faiss.write_index(search.faiss_index, os.fspath(unfinished))
        with atomic_write(_description(path)) as unfinished:
            unfinished.write_text(
                json.dumps({"embeddings": fingerprint, "quality": list(quality)}) + "\n"
            )
    # faiss raises RuntimeError for problems with files.
    except (OSError, RuntimeError) as error:
        logging.warning("The index could not be saved: %s", str(error).splitlines()[0])


def read_index(
    path: epath.Path, index: str, fingerprint: str
) -> tuple[ApproximateSearch | None, list[float]]:
    """Reads an index that `write_index` has saved.

    Args:
        path: The file.
        index: `"hnsw"` or `"ivf_pq"`.
        fingerprint: Fingerprint of the embeddings that it must contain.

    Returns:
        The index and the numbers that describe its quality; `None` and an empty list if there is
        none, it is damaged, or it contains other embeddings.

    Raises:
        ValueError: If faiss is not installed.
    """
    faiss = _import_faiss(index)
    try:
        description = json.loads(_description(path).read_text())
        if description["embeddings"] != fingerprint:
            logging.info("Rebuilding %s, which belongs to other embeddings.", path)
            return None, []
        search = ApproximateSearch(faiss.read_index(os.fspath(path)), index == "hnsw")
        return search, [float(number) for number in description["quality"]]
    except FileNotFoundError:
        return None, []
    except (OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
        logging.warning("Rebuilding %s: %s", path, str(error).splitlines()[0])
        return None, []


def _description(path):
    return path.parent / f"{path.name}.json"


def _sample(embeddings, most):
    if len(embeddings) <= most:
        return embeddings
    rows = np.random.default_rng(0).choice(len(embeddings), most, replace=False)
    return embeddings[np.sort(rows)]


def _import_faiss(index):
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            f"index={index!r} requires faiss: pip install \"ccp_dml[search]\", or use index='exact'"
        ) from error
    return faiss
