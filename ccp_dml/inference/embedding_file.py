"""Embeddings in Parquet files, which databases can load.

The columns are `path`, text that names each embedding (or `id`, if they are numbered), `label` and
`split`, if known, and `embedding`, float32 lists of equal size.
"""

import json
import numbers
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from ccp_dml.checks import list_first

ROWS_AT_A_TIME = 2**15
"""Rows of a row group, which are written or read at a time."""

_IDS = ("path", "id")
_METADATA = b"ccp_dml"


class EmbeddingFile(NamedTuple):
    """The contents of a file.

    Attributes:
        embeddings: `(n, d)` float32.
        ids: A list of n strings or integers.
        labels: The class of each, `None` where it is unknown; `None` if there is no such column.
        splits: The split of each, likewise.
        metadata: Metadata by this package: `networks` are the fingerprints of the networks that
            computed the embeddings; empty if other software wrote the file.
    """

    embeddings: np.ndarray
    ids: list[Any]
    labels: list[Any] | None
    splits: list[Any] | None
    metadata: dict[str, Any]


def import_pyarrow():
    """Returns the modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        ValueError: If they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError('Parquet files require pyarrow: pip install "ccp_dml[search]"') from error
    return pyarrow, pyarrow.parquet


def make_schema(
    ids: Sequence[Any] | np.ndarray,
    labels: Sequence[Any] | np.ndarray | None,
    splits: Sequence[Any] | None,
    size: int,
    metadata: dict[str, Any],
):
    """Returns the schema of a file.

    Args:
        ids: All strings or all integers.
        labels: Strings or integers, `None` where unknown; `None`: the file has no such column.
        splits: Strings, `None` where unknown; `None`: the file has no such column.
        size: Number of dimensions d of the embeddings.
        metadata: Metadata of the whole file, JSON values.

    Returns:
        A `pyarrow.Schema`.

    Raises:
        ValueError: If pyarrow is not installed.
    """
    pa, _ = import_pyarrow()
    id_type = _arrow_type(pa, ids)
    columns = [("path" if id_type == pa.string() else "id", id_type)]
    columns += [
        (name, _arrow_type(pa, values))
        for name, values in (("label", labels), ("split", splits))
        if values is not None
    ]
    columns.append(("embedding", pa.list_(pa.float32(), size)))
    return set_metadata(pa.schema(columns), metadata)


def set_metadata(schema, metadata: dict[str, Any]):
    """Returns the same schema with other metadata; see `make_schema`."""
    return schema.with_metadata({_METADATA: json.dumps(metadata, sort_keys=True)})


def make_table(
    schema,
    embeddings: np.ndarray,
    ids: Sequence[Any] | np.ndarray,
    labels: Sequence[Any] | np.ndarray | None = None,
    splits: Sequence[Any] | None = None,
):
    """Makes a table of rows of a file.

    Args:
        schema: As `make_schema` returns it.
        embeddings: `(n, d)` float32.
        ids: `(n,)`.
        labels: `(n,)`, if the schema has them. Defaults to `None`.
        splits: `(n,)`, if the schema has them. Defaults to `None`.

    Returns:
        A `pyarrow.Table`.
    """
    pa, _ = import_pyarrow()
    columns = [ids, *(each for each in (labels, splits) if each is not None)]
    arrays = [pa.array(each, kind) for each, kind in zip(columns, schema.types, strict=False)]
    values = pa.array(np.ascontiguousarray(embeddings, "float32").ravel())
    arrays.append(pa.FixedSizeListArray.from_arrays(values, embeddings.shape[1]))
    return pa.Table.from_arrays(arrays, schema=schema)


def open_writer(file, schema):
    """Returns a `pyarrow.parquet.ParquetWriter` for tables of `make_table`.

    Args:
        file: The opened file.
        schema: As `make_schema` returns it.
    """
    _, parquet = import_pyarrow()
    # Paths and embeddings rarely repeat.
    repeated = [name for name in ("label", "split") if name in schema.names]
    return parquet.ParquetWriter(file, schema, use_dictionary=repeated)


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """Reads the metadata of a file.

    Args:
        path: The file; any path that `etils.epath` knows.

    Returns:
        See `EmbeddingFile`; empty if other software wrote it, or if it is damaged or not a Parquet
        file.
    """
    pa, parquet = import_pyarrow()
    try:
        with epath.Path(path).open("rb") as file:
            return _parse_metadata(parquet.read_schema(file))
    except (OSError, pa.ArrowException):
        return {}


def read_embeddings(path: str | os.PathLike) -> EmbeddingFile:
    """Reads a file of embeddings, possibly written by other software.

    Args:
        path: The file, with the columns `path` or `id`, `embedding` and, optionally, `label` and
            `split`; any path that `etils.epath` knows.

    Raises:
        ValueError: If there is no such file, it is not a Parquet file, columns are missing, the
            embeddings differ in size, or pyarrow is not installed.
    """
    pa, parquet = import_pyarrow()
    file_path = epath.Path(path)
    if not file_path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with file_path.open("rb") as file:
            return _read(pa, parquet.ParquetFile(file))
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a Parquet file: {reason}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _arrow_type(pa, names):
    if isinstance(names, np.ndarray) and names.dtype.kind != "O":
        return pa.from_numpy_dtype(names.dtype)
    known = next((name for name in names if name is not None), "")
    return pa.int64() if isinstance(known, numbers.Integral) else pa.string()


def _parse_metadata(schema):
    try:
        metadata = json.loads((schema.metadata or {}).get(_METADATA, b"{}"))
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _read(pa, table):
    names = table.schema_arrow.names
    id_name = next((name for name in _IDS if name in names), None)
    if id_name is None or "embedding" not in names:
        missing = "'embedding'" if id_name else " or ".join(map(repr, _IDS))
        raise ValueError(f"there is no column {missing}; the columns are {list_first(names, 10)}")
    embeddings, start = None, 0
    parts = {name: [] for name in (id_name, "label", "split") if name in names}
    for batch in table.iter_batches(ROWS_AT_A_TIME, columns=[*parts, "embedding"]):
        vectors = _vectors(pa, batch.column("embedding"))
        if embeddings is None:
            embeddings = np.empty((table.metadata.num_rows, vectors.shape[1]), "float32")
        if vectors.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"embeddings differ in size: {embeddings.shape[1]} and {vectors.shape[1]}"
            )
        embeddings[start : start + len(vectors)] = vectors
        start += len(vectors)
        for name, values in parts.items():
            values.extend(batch.column(name).to_pylist())
    return EmbeddingFile(
        np.empty((0, 0), "float32") if embeddings is None else embeddings,
        parts[id_name],
        parts.get("label"),
        parts.get("split"),
        _parse_metadata(table.schema_arrow),
    )


def _vectors(pa, column):
    types = pa.types
    # Polars writes large lists.
    known = (types.is_fixed_size_list, types.is_list, types.is_large_list)
    if not any(is_kind(column.type) for is_kind in known):
        raise ValueError(f"the column 'embedding' must hold lists of numbers; it is {column.type}")
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if column.null_count or len(lengths) != 1:
        raise ValueError("the embeddings must have no missing values and all be of the same size")
    values = column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1)
