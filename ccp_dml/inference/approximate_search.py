"""Approximate nearest neighbours with faiss."""

import numpy as np

from ccp_dml.checks import check_at_least

INDEXES = ("hnsw", "ivf_pq")

# Links of a sample in the graph, and how many samples are looked at to choose them.
_LINKS = 32
_CONSTRUCTION_DEPTH = 80
# At least as many samples are looked at by a search of the graph.
_SEARCH_DEPTH = 128
# A code of 8 bits for this many values of an embedding; faiss asks for 39 samples to learn each of
# the 256 codes from.
_VALUES_PER_CODE = 4
_LEAST_SAMPLES = 39 * 256
_MOST_TRAINING_SAMPLES = 2**18
# Cells that a search looks at, of 4 √n.
_SEARCHED_CELLS = 64
# Rows that are added at a time.
_BLOCK = 2**16


class ApproximateSearch:
    """An index of faiss.

    Args:
        embeddings: `(n, d)` float32, contiguous.
        index: `"hnsw"` or `"ivf_pq"`.

    Raises:
        ValueError: If faiss is not installed, or there are too few embeddings for `"ivf_pq"`.
    """

    def __init__(self, embeddings, index):
        faiss = _import_faiss(index)
        count, size = embeddings.shape
        if index == "hnsw":
            self._index = faiss.IndexHNSWFlat(size, _LINKS)
            self._index.hnsw.efConstruction = _CONSTRUCTION_DEPTH
        else:
            check_at_least("the number of embeddings for index='ivf_pq'", count, _LEAST_SAMPLES)
            cells = min(int(4 * count**0.5), count // 39)
            most = max(1, size // _VALUES_PER_CODE)
            codes = max(number for number in range(1, most + 1) if size % number == 0)
            self._index = faiss.IndexIVFPQ(faiss.IndexFlatL2(size), size, cells, codes, 8)
            self._index.nprobe = _SEARCHED_CELLS
            self._index.train(_sample(embeddings, _MOST_TRAINING_SAMPLES))
        for start in range(0, count, _BLOCK):
            self._index.add(embeddings[start : start + _BLOCK])
        self._is_graph = index == "hnsw"

    def candidates(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Finds samples that are probably among the nearest.

        Args:
            queries: `(n, d)` float32.
            count: Number of samples to find.

        Returns:
            Rows `(n, count)` of the embeddings, −1 where fewer are found.
        """
        if self._is_graph:
            self._index.hnsw.efSearch = max(_SEARCH_DEPTH, count)
        return self._index.search(np.ascontiguousarray(queries), count)[1]


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
            f'index={index!r} requires faiss: pip install "ccp_dml[search]", or take '
            "index='exact'"
        ) from error
    return faiss
