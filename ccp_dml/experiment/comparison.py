"""Means and paired differences of the runs of a record."""

from collections.abc import Callable, Mapping
from math import nan

import pandas as pd

from ccp_dml.checks import check_one_of
from ccp_dml.experiment.concatenation import CONCATENATED, REDUCED
from ccp_dml.experiment.metrics import find_chosen
from ccp_dml.experiment.published import PublishedCell
from ccp_dml.experiment.records import SINGLE
from ccp_dml.experiment.run_folders import BASELINES
from ccp_dml.experiment.statistics import estimate_mean, paired_difference

METRICS = ("map_at_r", "precision_at_1", "r_precision", "nmi", "ami", "pairwise_f1")
# Sizes of the embeddings for which results of a single network and of the concatenation are
# published.
PUBLISHED_SIZES = {SINGLE: 128, CONCATENATED: 512}

_EFFORT = ("best_step", "rounds", "seconds")
_SAME = 4


def shown_metrics(runs: pd.DataFrame) -> list[str]:
    """Returns the metrics that tables show: `METRICS`, and those chosen for some of the runs.

    Args:
        runs: See `ccp_dml.experiment.records.Record`.
    """
    return [*METRICS, *(name for name in find_chosen(runs.columns) if name not in METRICS)]


def summarize(
    runs: pd.DataFrame,
    published: Callable[[str, str], PublishedCell | None] | None = None,
) -> pd.DataFrame:
    """Computes means over folds and seeds with Student's 95 % intervals for each name and method.

    Baselines come first; a baseline that is equal, to four digits, for several names is listed
    once. A metric is missing in a row if one of its runs does not have it.

    Args:
        runs: See `ccp_dml.experiment.records.Record`.
        published: Function from a name and a method to the published cell or `None`. Defaults to
            `None`: nothing is published.

    Returns:
        `name`, `method`, `runs` (how many); each of `shown_metrics` and, with the ending
        `_half_width`, half the width of its interval; `best_step`, `rounds` and `seconds`, means;
        `best_phase`, the phases outside of the rounds with the best weights, and in how many runs.
        Then, with the prefix `concatenated_`, `runs` (seeds), `embedding_size` and the metrics of
        the concatenation of folds, with `reduced_` those of the same after a PCA; with
        `published_128_` and `published_512_` the published metrics, and with `difference_128_` and
        `difference_512_` the mean minus the published value; `published_title` and
        `published_steps`.
    """
    rows = []
    singles = runs[runs["embedding"] == SINGLE]
    groups = dict(list(singles.groupby(["name", "method"], sort=False)))
    for name, method in _baselines_first(groups):
        row = {"name": name, "method": method, **_summarize_group(groups[name, method])}
        best_phase = _describe_phases(groups[name, method])
        row |= {column: _mean(groups[name, method], column) for column in _EFFORT}
        row["best_phase"] = best_phase
        own = runs[(runs["name"] == name) & (runs["method"] == method)]
        for kind in (CONCATENATED, REDUCED):
            group = own[own["embedding"] == kind]
            if len(group):
                values = {"embedding_size": _mean(group, "embedding_size")}
                values |= _summarize_group(group)
                row |= {f"{kind}_{column}": value for column, value in values.items()}
        if published is not None:
            row |= _compare_with_published(row, own, published(name, method))
        rows.append(row)
    return pd.DataFrame(rows)


def compare(
    runs: pd.DataFrame,
    baseline: str | None = None,
    data_sets: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Computes paired differences of single networks, over the folds and seeds that both have.

    Args:
        runs: See `ccp_dml.experiment.records.Record`.
        baseline: What every method is compared with, such as `"c2_ccp:plain"`. Defaults to `None`:
            each method is compared with the first of its name, and with the same method of the
            first name of the same data set or, where that has none, with its first one.
        data_sets: The data set of each name; a name that is missing is compared with the first of
            all. Defaults to `None`: all are missing.

    Returns:
        A row for each pair: `name`, `method`, `baseline_name`, `baseline_method`, `pairs` (how
        many), and for each of `shown_metrics`, with its name as prefix, `_difference`,
        `_half_width` of Student's 95 % interval, `_p_value` of the sign-flip permutation test,
        `_positive`, the number of pairs with a difference above 0, and `_pairs`. See
        `ccp_dml.experiment.statistics.paired_difference`.

    Raises:
        ValueError: If there is no such baseline.
    """
    singles = runs[runs["embedding"] == SINGLE]
    groups = {
        key: group.set_index(["fold", "seed"])
        for key, group in singles.groupby(["name", "method"], sort=False)
    }
    trained = [key for key in groups if key[1] not in BASELINES]
    if baseline is None:
        pairs = _default_pairs(trained, data_sets or {})
    else:
        chosen = _parse_baseline(baseline, groups)
        pairs = [(key, chosen) for key in trained if key != chosen]
    columns = ["name", "method", "baseline_name", "baseline_method", "pairs"]
    rows = []
    for ours, theirs in pairs:
        both = groups[ours].join(groups[theirs].add_suffix("_theirs"), how="inner")
        if len(both):
            row = dict(zip(columns, (*ours, *theirs, len(both)), strict=True))
            rows.append(row | _differences(both))
    return pd.DataFrame(rows, columns=None if rows else columns)


def _baselines_first(groups):
    """Returns the keys of the rows, without repeated baselines."""
    shown, baselines = {method: set() for method in BASELINES}, []
    for name, method in sorted(groups, key=lambda key: _rank(key[1])):
        if method not in BASELINES:
            break
        group = groups[name, method]
        present = [metric for metric in METRICS if _is_complete(group, metric)]
        states = set(
            group[["fold", "seed", *present]].round(_SAME).itertuples(index=False, name=None)
        )
        if not states <= shown[method]:
            baselines.append((name, method))
        shown[method] |= states
    return [*baselines, *(key for key in groups if key[1] not in BASELINES)]


def _rank(method):
    return BASELINES.index(method) if method in BASELINES else len(BASELINES)


def _summarize_group(group):
    row = {"runs": len(group)}
    for metric in shown_metrics(group):
        if metric in group:
            estimate = estimate_mean(group[metric])
            row |= {metric: estimate.mean, f"{metric}_half_width": estimate.half_width}
    return row


def _is_complete(group, column):
    return column in group and group[column].notna().all()


def _mean(group, column):
    """Returns the mean of a column; `None` unless every run has it."""
    return float(group[column].mean()) if _is_complete(group, column) else None


def _describe_phases(group):
    counts = group.loc[group["best_phase"] != "", "best_phase"].value_counts(sort=False)
    return ", ".join(f"{phase} in {count} of {len(group)}" for phase, count in counts.items())


def _compare_with_published(row, own, published):
    """Returns the published results for single networks and the concatenation, if sizes agree."""
    if published is None:
        return {}
    columns = {}
    for kind, size in PUBLISHED_SIZES.items():
        sizes = own.loc[own["embedding"] == kind, "embedding_size"]
        if len(sizes) and (sizes == size).all():
            prefix = "" if kind == SINGLE else f"{kind}_"
            for metric, value in published.metrics.get(size, {}).items():
                columns[f"published_{size}_{metric}"] = value
                columns[f"difference_{size}_{metric}"] = row.get(f"{prefix}{metric}", nan) - value
    if columns:
        columns |= {"published_title": published.title, "published_steps": published.steps}
    return columns


def _default_pairs(trained, data_sets):
    first, first_names = {}, {}
    for name, method in trained:
        first.setdefault(name, method)
        first_names.setdefault(data_sets.get(name), name)
    if trained:
        # For unknown data sets.
        first_names[None] = trained[0][0]
    within = [((name, method), (name, first[name])) for name, method in trained]
    between = []
    for name, method in trained:
        first_name = first_names[data_sets.get(name)]
        # If the first name has no such method, its first method is used.
        theirs = method if (first_name, method) in trained else first[first_name]
        if name != first_name:
            between.append(((name, method), (first_name, theirs)))
    return [(ours, theirs) for ours, theirs in [*within, *between] if ours != theirs]


def _parse_baseline(baseline, groups):
    check_one_of("baseline", baseline, [":".join(key) for key in groups])
    name, _, method = baseline.rpartition(":")
    return name, method


def _differences(both):
    row = {}
    for metric in shown_metrics(both):
        ours, theirs = metric, f"{metric}_theirs"
        if ours in both and theirs in both and both[[ours, theirs]].notna().all(axis=1).any():
            found = paired_difference(both[ours], both[theirs])
            row |= {
                f"{metric}_difference": found.mean,
                f"{metric}_half_width": found.half_width,
                f"{metric}_p_value": found.p_value,
                f"{metric}_positive": found.positive,
                f"{metric}_pairs": found.count,
            }
    return row
