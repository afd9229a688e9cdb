"""Records: the runs of finished experiments as one table, from folders or from a file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.data.image_index import is_regular_file
from ccp_dml.experiment.run_folders import ONLY_FOLD, FinishedRun, find_runs

RECORD = "runs.csv"
# A row of a single network; `ccp_dml.experiment.concatenation` names the other kinds.
SINGLE = "single"

KEY = ["name", "fold", "seed", "method", "embedding"]
_REQUIRED = ["name", "seed", "method", "map_at_r"]
_TEXTS = ["name", "method", "embedding", "best_phase"]
_INTEGERS = ["fold", "seed", "embedding_size", "steps", "rounds", "best_step"]
_SHOWN = 8
# As with `--mode=plan`: a folder for each data set, with a folder for each cell.
_LEVELS = 2


class Record(NamedTuple):
    """Runs, and the folders of those that have one.

    Attributes:
        runs: A row for each name, fold, seed, method and kind of embedding, with the columns of
            `KEY` and a column for each metric. The baselines of a run (raw pixels, pooled features,
            the network before training) are methods here. Names are those of the folders.
        folders: The finished runs of each name; empty for runs that were read from a record.
        folds: The folds in the folder of each name, finished or not.
        notes: What was left out, in sentences.
    """

    runs: pd.DataFrame
    folders: Mapping[str, Sequence[FinishedRun]]
    folds: Mapping[str, frozenset[int]]
    notes: tuple[str, ...]


def read_runs(paths: Sequence[epath.PathLike]) -> Record:
    """Reads run folders, protocol folders and records.

    Args:
        paths: Paths of folders (see `ccp_dml.experiment.run_folders.find_runs`), of folders of such
            folders, and of files written by `write_record`. If names are not unique, parent folders
            are added to them.

    Raises:
        ValueError: If a path is given twice, does not exist, holds no finished run, or is a damaged
            record; the message says what was found.
    """
    paths = [folder for path in paths for folder in _run_folders(epath.Path(path))]
    if not paths:
        raise ValueError("there are no runs to read: name their folders, or a record")
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise ValueError(f"{path} is given {count} times")
    sources = [_read_source(path) for path in paths]
    names = _unique_names(
        [(name, path) for path, source in zip(paths, sources, strict=True) for name in source.names]
    )
    frames, folders, folds, notes = [], {}, {}, []
    for path, source in zip(paths, sources, strict=True):
        new_names = {name: names[name, path] for name in source.names}
        frames.append(source.runs.assign(name=source.runs["name"].map(new_names)))
        if source.folders:
            (name,) = new_names.values()
            folders[name], folds[name] = source.folders, source.folds
            notes += [f"{name}: {note}" for note in source.notes]
    return Record(_combine(frames), folders, folds, tuple(notes))


def read_record(path: epath.PathLike) -> pd.DataFrame:
    """Reads a record of runs, such as `runs.csv`, to the last digit.

    Without a column of folds, the fold is 1; without a column of kinds of embeddings, rows are of
    single networks.

    Args:
        path: The file.

    Returns:
        See `Record.runs`.

    Raises:
        ValueError: If the file is not such a record; the message names it and the line.
    """
    try:
        with epath.Path(path).open("r") as file:
            # Read as text, so that numbers are not rounded before they are converted, and so that a
            # run may be called None.
            runs = pd.read_csv(
                file, dtype="str", index_col=False, keep_default_na=False, na_values=[""]
            )
    except ValueError as error:
        raise ValueError(f"{path} is not a record of runs: {error}") from error
    missing = [column for column in _REQUIRED if column not in runs]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}")
    if runs.empty:
        raise ValueError(f"{path} contains no runs")
    for column in ("name", "method", "seed"):
        _refuse(runs[column].isna(), path, f"there is no {column}")
    for column in runs.columns.difference(_TEXTS):
        numbers = pd.to_numeric(runs[column], errors="coerce")
        wrong = numbers.isna() & runs[column].notna()
        if column in _INTEGERS:
            wrong |= numbers.notna() & (numbers % 1 != 0)
        kind = "an integer" if column in _INTEGERS else "a number"
        _refuse(wrong, path, f"{column} must be {kind}")
        runs[column] = runs[column].astype("float64")
    runs = _set_types(runs)
    _refuse(runs.duplicated(KEY), path, "the run is listed twice")
    return runs


def write_record(path: epath.PathLike, runs: pd.DataFrame):
    """Writes runs atomically; `read_record` returns the same runs.

    Args:
        path: The file.
        runs: See `Record.runs`.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_text(runs.to_csv(index=False, lineterminator="\n"), encoding="utf-8")


def add_rows(runs: pd.DataFrame, rows: Sequence[Mapping]) -> pd.DataFrame:
    """Returns runs with further rows.

    Args:
        runs: See `Record.runs`.
        rows: Values by column; absent columns are missing values.
    """
    return _combine([runs, _set_types(pd.DataFrame(rows))]) if rows else runs


def _run_folders(path):
    """Returns the run and protocol folders of a path: itself, or those below it."""
    if not path.is_dir():
        return [path]
    found = find_runs(path)
    if found.runs or found.unfinished:
        return [path]
    return _folders_below(path, _LEVELS) or [path]


def _folders_below(folder, levels):
    """Returns the run and protocol folders below a folder that contain a finished run."""
    folders = []
    for child in sorted(each for each in folder.iterdir() if each.is_dir()):
        if child.name == "earlier":
            continue
        if find_runs(child).runs:
            folders.append(child)
        elif levels > 1:
            folders += _folders_below(child, levels - 1)
    return folders


class _Source(NamedTuple):
    names: Sequence[str]
    runs: pd.DataFrame
    folders: Sequence[FinishedRun] = ()
    folds: frozenset[int] = frozenset()
    notes: Sequence[str] = ()


def _read_source(path):
    if not path.exists():
        raise ValueError(f"{path} does not exist: name a work folder of training, or a {RECORD}")
    if not path.is_dir():
        if not is_regular_file(path):
            raise ValueError(f"{path} is neither a folder nor a file")
        runs = read_record(path)
        return _Source(list(runs["name"].unique()), runs)
    found = find_runs(path)
    if not found.runs:
        raise ValueError(f"{path} contains no finished run: {_explain(path, found.unfinished)}")
    runs = _set_types(pd.DataFrame([row for run in found.runs for row in _rows(path.name, run)]))
    repeated = runs[runs.duplicated(KEY)]
    if len(repeated):
        row = repeated.iloc[0]
        raise ValueError(
            f"{path} contains fold {row['fold']} of seed {row['seed']} more than once: move one of "
            "them away"
        )
    notes = []
    if found.unfinished:
        count = len(found.unfinished)
        are = "runs that are" if count > 1 else "run that is"
        notes.append(f"left out {count} {are} not finished ({', '.join(found.unfinished)}).")
    return _Source([path.name], runs, found.runs, found.folds, notes)


def _explain(path, unfinished):
    if unfinished:
        return f"unfinished: {', '.join(unfinished)}; to resume, run the same command again"
    inside = sorted(each.name for each in path.iterdir())
    more = f" and {len(inside) - _SHOWN} more" if len(inside) > _SHOWN else ""
    contents = f"it has {', '.join(inside[:_SHOWN])}{more}" if inside else "it is empty"
    return (
        f"{contents}; name a folder with a results.json, a folder of such folders called "
        f"fold1_seed0 or seed0, or a {RECORD}"
    )


def _rows(name, run):
    """Returns the rows of a run: those of its baselines and of its methods."""
    size = run.flag("embedding_size")
    for method, metrics in run.metrics.items():
        key = {"name": name, "fold": run.fold, "seed": run.seed, "method": method}
        is_embedding = method not in ("raw_pixels", "pooled_features")
        yield {
            **key,
            "embedding_size": int(size) if size and is_embedding else None,
            **{column: value for column, value in metrics.items() if _is_kept(column, value)},
        }


def _is_kept(column, value):
    return column == "best_phase" or isinstance(value, int | float)


def _set_types(runs):
    """Returns runs with the columns of `KEY` first and one type per column."""
    runs = runs.copy()
    if "embedding" not in runs:
        runs["embedding"] = SINGLE
    runs["embedding"] = runs["embedding"].fillna(SINGLE)
    if "fold" not in runs:
        runs["fold"] = pd.NA
    if "best_phase" not in runs:
        runs["best_phase"] = ""
    runs["best_phase"] = runs["best_phase"].fillna("")
    for column in runs.columns.difference(_TEXTS):
        kind = "Int64" if column in _INTEGERS else "float64"
        runs[column] = pd.to_numeric(runs[column]).astype(kind)
    # Concatenations belong to all folds.
    is_single = runs["embedding"] == SINGLE
    runs.loc[is_single, "fold"] = runs.loc[is_single, "fold"].fillna(ONLY_FOLD)
    return runs[[*KEY, *(column for column in runs if column not in KEY)]]


def _combine(frames):
    runs = pd.concat(frames, ignore_index=True)
    last = [column for column in ("best_phase",) if column in runs]
    return runs[[*(column for column in runs if column not in last), *last]]


def _refuse(wrong, path, message):
    if wrong.any():
        # The first line contains the names of the columns.
        raise ValueError(f"{path}, line {wrong.to_numpy().argmax() + 2}: {message}")


def _unique_names(named):
    """Returns unique names for pairs of name and path, with as many parent folders as necessary."""
    depth, result = 0, {(name, path): name for name, path in named}
    while True:
        counts = Counter(result.values())
        repeated = [each for each in named if counts[result[each]] > 1]
        if not repeated:
            return result
        depth += 1
        for name, path in repeated:
            # A record's names are in the file itself, a folder's name is in its parent.
            above = path.resolve().parent if path.is_dir() else path.resolve()
            result[name, path] = "/".join([*above.parts[-depth:], name])
