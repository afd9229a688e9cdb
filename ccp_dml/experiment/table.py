"""The tables of finished runs: results, concatenations, published results and differences."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.experiment.comparison import (
    METRICS,
    PUBLISHED_SIZES,
    compare,
    shown_metrics,
    summarize,
)
from ccp_dml.experiment.concatenation import CONCATENATED, REDUCED, concatenate_folds
from ccp_dml.experiment.metrics import metric_titles
from ccp_dml.experiment.published import PublishedCell
from ccp_dml.experiment.records import (
    RECORD,
    SINGLE,
    Record,
    add_rows,
    read_runs,
    write_record,
)
from ccp_dml.experiment.run_folders import BASELINES
from ccp_dml.experiment.settings import Settings
from ccp_dml.report import format_estimate, markdown_table, terminal_table

Published = Callable[[Settings, str], PublishedCell | None]

_WIDTH = 110
_TITLES = {
    "map_at_r": "MAP@R",
    "precision_at_1": "P@1",
    "r_precision": "R-precision",
    "nmi": "NMI",
    "ami": "AMI",
    "pairwise_f1": "F1",
}
CAPTIONS = {
    "results": "Mean over folds and seeds ± half of Student's 95 % interval:",
    "concatenations": "The networks of all folds of a seed combined, with their embeddings side by "
    "side, and the same with each network's embeddings reduced by PCA; mean over the seeds:",
    "published": "Published results, and in brackets by how much the means above exceed them:",
    "differences": "Paired differences over the folds and seeds of both ± half of Student's 95 % "
    "interval. For MAP@R: p of the sign-flip permutation test, and how many are positive:",
}


def write_tables(
    paths: Sequence[epath.PathLike],
    output: epath.PathLike | None = None,
    baseline: str | None = None,
    published: Published | None = None,
) -> str:
    """Reads finished runs, tabulates and compares them, without training anything.

    Args:
        paths: Run folders, protocol folders and records; see
            `ccp_dml.experiment.records.read_runs`.
        output: Folder for `table.md`, the tables; `table.csv` and `differences.csv`, their numbers
            in full (see `ccp_dml.experiment.comparison`); and `runs.csv`, the record of the runs.
            Defaults to none: nothing is written.
        baseline: What every method is compared with, such as `"c2_ccp:plain"`. Defaults to the
            first method of the same name, and the same method of the first name.
        published: Function from settings and a method to the published cell, such as
            `ccp_dml.experiment.published.find_published`. Defaults to `None`: nothing is published.

    Returns:
        The tables for a terminal.

    Raises:
        ValueError: If a path is not a finished run, or there is no such baseline.
        OSError: If `output` cannot be written to.
    """
    return save_tables(make_tables(paths, baseline, published), output)


def save_tables(tables: "Tables", output: epath.PathLike | None = None) -> str:
    """Writes tables.

    Args:
        tables: What `make_tables` returned.
        output: See `write_tables`.

    Returns:
        The tables for a terminal.

    Raises:
        OSError: If `output` cannot be written to.
    """
    if output is not None:
        folder = epath.Path(output)
        _write(folder / "table.md", _join(tables, markdown_table))
        _write(folder / "table.csv", tables.summary.to_csv(index=False, lineterminator="\n"))
        differences = tables.differences.to_csv(index=False, lineterminator="\n")
        _write(folder / "differences.csv", differences)
        write_record(folder / RECORD, tables.record.runs)
    return _join(tables, terminal_table)


class Tables(NamedTuple):
    """Finished runs in tables.

    Attributes:
        record: The runs.
        summary: See `ccp_dml.experiment.comparison.summarize`.
        differences: See `ccp_dml.experiment.comparison.compare`.
        cells: The texts of each table by its name in `CAPTIONS`; those without rows are left out.
        notes: Sentences about what was left out and about misleading rows.
    """

    record: Record
    summary: pd.DataFrame
    differences: pd.DataFrame
    cells: Mapping[str, pd.DataFrame]
    notes: Sequence[str]


def make_tables(
    paths: Sequence[epath.PathLike],
    baseline: str | None = None,
    published: Published | None = None,
) -> Tables:
    """Reads finished runs and compares them.

    Args:
        paths: See `write_tables`.
        baseline: See `write_tables`.
        published: See `write_tables`.

    Raises:
        ValueError: If a path is not a finished run, or there is no such baseline.
    """
    record = _with_concatenations(read_runs(paths))
    summary = summarize(record.runs, _published_by_name(record, published))
    differences = compare(record.runs, baseline, _data_sets(record))
    chosen = dict.fromkeys(shown_metrics(record.runs))
    titles = _TITLES | metric_titles({"runs": chosen})
    cells = {
        "results": _show_results(summary, titles),
        "concatenations": _show_concatenations(summary, titles),
        "published": _show_published(summary),
        "differences": _show_differences(differences, titles),
    }
    return Tables(
        record,
        summary,
        differences,
        {name: table for name, table in cells.items() if len(table)},
        [*record.notes, *_warnings(record.runs, summary)],
    )


def _with_concatenations(record):
    rows, notes = [], list(record.notes)
    for name, runs in record.folders.items():
        new_rows, new_notes = concatenate_folds(runs, record.folds[name])
        rows += [{"name": name, **row} for row in new_rows]
        notes += [f"{name}: {note}" for note in new_notes]
    return record._replace(runs=add_rows(record.runs, rows), notes=tuple(notes))


def _published_by_name(record: Record, published: Published | None):
    if published is None:
        return None
    settings = {name: runs[0].settings() for name, runs in record.folders.items()}

    def of(name, method):
        found = settings.get(name)
        return None if found is None or method in BASELINES else published(found, method)

    return of


def _data_sets(record):
    """Returns the data set of each name whose run folders say so."""
    found = {name: runs[0].flag("dataset") for name, runs in record.folders.items()}
    return {name: data_set for name, data_set in found.items() if data_set}


def _warnings(runs, summary):
    """Returns sentences about misleading rows."""
    for row in summary.to_dict("records"):
        title = f"{row['name']}, {row['method']}"
        if row["best_phase"]:
            yield (
                f"{title}: the best weights are from before the method took effect "
                f"({row['best_phase']} runs)."
            )
        is_own = (runs["name"] == row["name"]) & (runs["method"] == row["method"])
        own = runs[is_own & (runs["embedding"] == SINGLE)]
        for metric in METRICS:
            if metric in own and 0 < (missing := own[metric].isna().sum()) < len(own):
                yield f"{title}: {missing} of {len(own)} runs have no {_TITLES[metric]}."


def _show_results(summary, titles):
    rows = []
    for row in summary.to_dict("records"):
        cells = {"name": row["name"], "method": row["method"].replace("_", " ")}
        cells["runs"] = f"{row['runs']}"
        cells |= {title: _estimate(row, metric) for metric, title in titles.items()}
        is_trained = row["method"] not in BASELINES
        cells["best step"] = _show_best_step(row) if is_trained else ""
        cells["rounds"] = _number(row["rounds"], ".1f") if is_trained else ""
        cells["seconds"] = _number(row["seconds"], ".0f") if is_trained else ""
        rows.append(cells)
    return pd.DataFrame(rows)


def _show_best_step(row):
    return ", ".join(filter(None, (_number(row["best_step"], ".0f"), row["best_phase"])))


def _show_concatenations(summary, titles):
    rows = []
    for row in summary.to_dict("records"):
        for kind, ending in ((CONCATENATED, ""), (REDUCED, ", PCA")):
            size = row.get(f"{kind}_embedding_size")
            if not pd.isna(size):
                cells = {"name": row["name"], "method": row["method"]}
                cells |= {
                    "embedding": f"{size:.0f}-d{ending}",
                    "seeds": f"{row[f'{kind}_runs']:.0f}",
                }
                cells |= {
                    title: _estimate(row, f"{kind}_{metric}") for metric, title in titles.items()
                }
                rows.append(cells)
    return pd.DataFrame(rows)


def _show_published(summary):
    rows = []
    for row in summary.to_dict("records"):
        for size in PUBLISHED_SIZES.values():
            cells = {title: _published_cell(row, size, metric) for metric, title in _TITLES.items()}
            if any(cells.values()):
                names = {"name": row["name"], "method": row["method"], "embedding": f"{size}-d"}
                names["published as"] = row["published_title"]
                rows.append(names | cells | {"best step": _published_steps(row, size)})
    return pd.DataFrame(rows)


def _published_cell(row, size, metric):
    value = row.get(f"published_{size}_{metric}")
    if pd.isna(value):
        return ""
    difference = format_estimate(row[f"difference_{size}_{metric}"], signed=True)
    return f"{format_estimate(value)} ({difference})" if difference else format_estimate(value)


def _published_steps(row, size):
    """Formats the published steps of single networks, and in brackets how many more ours took."""
    steps = row.get("published_steps")
    if pd.isna(steps) or size != PUBLISHED_SIZES[SINGLE]:
        return ""
    difference = row["best_step"] - steps
    return f"{steps:.0f}" if pd.isna(difference) else f"{steps:.0f} ({difference:+.0f})"


def _show_differences(differences, titles):
    rows = []
    for row in differences.to_dict("records"):
        within = row["name"] == row["baseline_name"]
        minus = (
            row["baseline_method"] if within else f"{row['baseline_name']}:{row['baseline_method']}"
        )
        cells = {"name": row["name"], "method": row["method"], "minus": minus}
        for metric, title in titles.items():
            mean, half_width = (
                row.get(f"{metric}_{part}") for part in ("difference", "half_width")
            )
            cells[title] = format_estimate(mean, half_width, signed=True)
            if metric == METRICS[0]:
                cells["p"] = _show_p_value(row.get(f"{metric}_p_value"))
                cells["positive"] = _show_positive(row, metric)
        rows.append(cells)
    return pd.DataFrame(rows)


def _show_p_value(p_value):
    shown = _number(p_value, ".4f")
    # A permutation test never gives zero.
    return "< 0.0001" if shown == "0.0000" else shown


def _show_positive(row, metric):
    positive = row.get(f"{metric}_positive")
    return "" if pd.isna(positive) else f"{positive:.0f} of {row[f'{metric}_pairs']:.0f}"


def _estimate(row, metric):
    return format_estimate(row.get(metric), row.get(f"{metric}_half_width"))


def _number(value, form):
    return "" if pd.isna(value) else format(value, form)


def _join(tables, render):
    parts = []
    for name, cells in tables.cells.items():
        parts += [textwrap.fill(CAPTIONS[name], _WIDTH), render(cells)]
    if tables.notes:
        parts.append("\n".join(f"- {note}" for note in tables.notes))
    return "\n\n".join(parts) + "\n"


def _write(path, text):
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
