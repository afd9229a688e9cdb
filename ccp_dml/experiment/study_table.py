"""The results of a study: comparisons, and tables of finished groups."""

import itertools
from collections.abc import Mapping
from math import nan

import pandas as pd

from ccp_dml.experiment.statistics import adjust_p_values, estimate_mean, paired_difference
from ccp_dml.experiment.study import CLUSTERING_METRICS, METRICS, Group, Study
from ccp_dml.experiment.study_runs import StudyRuns
from ccp_dml.report import format_estimate, markdown_table

_CLAIMS = (
    "Paired differences over the seeds ± half of Student's 95 % interval; p of the exact sign-flip "
    "permutation test of {metric}, and the same after Holm's correction for the {count} "
    "comparisons of the study:"
)
_RADIUS = "Spearman's rank correlation of the covering radius of the test classes with MAP@R: {}."
_RADIUS_OF_MEANS = "{:+.2f} between the means of what is compared here"
_RADIUS_OF_SEEDS = "{:+.2f} between the seeds of each"


def find_metrics(runs: pd.DataFrame) -> dict[str, str]:
    """Returns the titles of the metrics that tables show, by name.

    Args:
        runs: See `StudyRuns`.

    Returns:
        Those of `METRICS`, and of `CLUSTERING_METRICS` if all runs have them.
    """
    clustering = {
        name: title
        for name, title in CLUSTERING_METRICS.items()
        if name in runs and runs[name].notna().all()
    }
    return METRICS | clustering


def unfinished_groups(study: Study, runs: pd.DataFrame) -> dict[str, str]:
    """Returns the progress of unfinished groups, by name.

    Args:
        study: The study.
        runs: See `StudyRuns`.
    """
    done = set(zip(runs["name"], runs["seed"], strict=True))
    counts = {}
    for group in study.groups:
        wanted = [(variant, seed) for variant in group.variants for seed in group.seeds]
        finished = sum(each in done for each in wanted)
        if finished < len(wanted):
            counts[group.name] = f"{finished} of {len(wanted)} runs"
    return counts


def compare_claims(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """Computes the comparisons of a study whose sides both have all their seeds.

    Args:
        study: The study.
        runs: See `StudyRuns`.

    Returns:
        A row for each: `name` and `minus`, the two sides as `variant:method`; `pairs`; `p_value`
        and `adjusted_p_value` of the study's metric, corrected for all comparisons of the study,
        including those left out; `positive`; and for each metric of `find_metrics`, with its name
        as prefix, `_difference` and `_half_width_of_difference`.
    """
    metrics = find_metrics(runs)
    rows = []
    for ours, theirs in study.comparisons:
        sides = [_values_of(runs, each) for each in (ours, theirs)]
        seeds = [study.seeds(_variant_of(each)) for each in (ours, theirs)]
        if all(set(own) <= set(side.index) for own, side in zip(seeds, sides, strict=True)):
            difference = _difference(sides[0], sides[1], metrics, study.metric)
            rows.append({"name": ours, "minus": theirs, **difference})
    table = pd.DataFrame(rows)
    if rows:
        adjusted = adjust_p_values(table["p_value"], len(study.comparisons))
        table.insert(list(table).index("p_value") + 1, "adjusted_p_value", adjusted)
    return table


def summarize_group(group: Group, runs: pd.DataFrame) -> pd.DataFrame:
    """Computes the means of the variants of a group over its seeds.

    Args:
        group: The group.
        runs: See `StudyRuns`.

    Returns:
        A row for each variant and method: `name`, `method`, `at`, its position on the axis, if
        there is one; `runs`; for each metric of `find_metrics` the mean and, with the ending
        `_half_width`, half of Student's 95 % interval; the means of `best_step`, `rounds` and
        `first_round_steps`. For a curve also `minus`, `map_at_r_difference` and its `_half_width`.
    """
    rows, metrics = [], find_metrics(runs)
    for number, variant in enumerate(group.variants):
        own = runs[(runs["name"] == variant) & runs["seed"].isin(group.seeds)]
        methods = list(own["method"].unique())
        for method in methods:
            values = own[own["method"] == method]
            row = {"name": variant, "method": method}
            if group.axis:
                row["at"] = group.values[number]
            row["runs"] = len(values)
            for metric in metrics:
                estimate = estimate_mean(values[metric])
                row |= {metric: estimate.mean, f"{metric}_half_width": estimate.half_width}
            for column in ("best_step", "rounds", "first_round_steps"):
                row[column] = float(values[column].mean())
            minus = group.minus or f"{variant}:{methods[0]}"
            if group.axis and minus != f"{variant}:{method}":
                sides = values.set_index("seed"), _values_of(runs, minus)
                difference = _difference(*sides, ["map_at_r"], "map_at_r")
                row |= {"minus": minus} | {
                    column: difference[column]
                    for column in ("map_at_r_difference", "map_at_r_half_width_of_difference")
                }
            rows.append(row)
    return pd.DataFrame(rows)


def align_at_first_renewal(found: StudyRuns, ours: str, theirs: str) -> pd.DataFrame:
    """Computes the difference of two validation curves by the steps since the first renewal.

    Args:
        found: The runs.
        ours: A side `variant:method`, whose first renewal is the origin for each seed.
        theirs: Another one with the same seeds, such as the same method without renewals.

    Returns:
        A row for each number of steps that all seeds have: `steps`, negative before the renewal;
        `difference`, the mean of `ours − theirs`; and `half_width` of Student's 95 % interval.
        Empty if there is no seed with a renewal.
    """
    keys = ["seed", "step"]
    curves = [
        _values_of(found.validation, side).reset_index()[[*keys, "validation"]]
        for side in (ours, theirs)
    ]
    renewals = _values_of(found.runs, ours)["first_round_steps"].dropna().reset_index()
    both = curves[0].merge(curves[1], on=keys, suffixes=("", "_theirs")).merge(renewals, on="seed")
    both["steps"] = (both["step"] - both["first_round_steps"]).astype("int64")
    both["difference"] = both["validation"] - both["validation_theirs"]
    rows = []
    for steps, values in both.groupby("steps")["difference"]:
        if len(values) == len(renewals):
            estimate = estimate_mean(values)
            rows.append((steps, estimate.mean, estimate.half_width))
    return pd.DataFrame(rows, columns=["steps", "difference", "half_width"])


def _values_of(runs, side):
    name, _, method = side.rpartition(":")
    return runs[(runs["name"] == name) & (runs["method"] == method)].set_index("seed")


def _variant_of(side):
    return side.rpartition(":")[0]


def _difference(ours, theirs, metrics, tested):
    """Paired differences of the metrics, with the p-value of the tested one."""
    both = ours.join(theirs.add_suffix("_theirs"), how="inner")
    row = {"pairs": len(both)}
    for metric in metrics:
        found = paired_difference(both[metric], both[f"{metric}_theirs"])
        if metric == tested:
            row |= {"p_value": found.p_value, "positive": found.positive}
        row |= {
            f"{metric}_difference": found.mean,
            f"{metric}_half_width_of_difference": found.half_width,
        }
    return row


def correlate_radius(study: Study, runs: pd.DataFrame) -> dict[str, float]:
    """Correlates the covering radius of the test classes with MAP@R.

    Args:
        study: The study; both sides of its comparisons are used if they have all their seeds.
        runs: See `StudyRuns`.

    Returns:
        Spearman's rank correlations: `"means"`, of the means of all sides, NaN for fewer than
        three; and `"seeds"`, of all runs after subtracting the mean of their side. The theory of
        the CCP paper predicts that both are negative. Empty if no side is finished.
    """
    sides = {
        side: _values_of(runs, side)[["covering_radius", "map_at_r"]]
        for side in dict.fromkeys(itertools.chain(*study.comparisons))
        if set(study.seeds(_variant_of(side))) <= set(_values_of(runs, side).index)
    }
    if not sides:
        return {}
    means = pd.DataFrame({side: values.mean() for side, values in sides.items()}).T
    centered = pd.concat(values - values.mean() for values in sides.values())
    return {
        "means": _rank_correlation(means) if len(means) > 2 else nan,
        "seeds": _rank_correlation(centered),
    }


def _rank_correlation(values):
    return float(values["covering_radius"].corr(values["map_at_r"], method="spearman"))


def format_study(study: Study, runs: pd.DataFrame) -> str:
    """Formats the tables of a study in Markdown: its comparisons, and every finished group.

    Args:
        study: The study.
        runs: See `StudyRuns`.
    """
    parts = [f"# {study.title}"]
    claims = compare_claims(study, runs)
    if len(claims):
        metrics = find_metrics(runs)
        about = _CLAIMS.format(count=len(study.comparisons), metric=metrics[study.metric])
        parts += [about, _claims_table(claims, metrics, study.metric)]
        parts.append(_describe_radius(correlate_radius(study, runs)))
    unfinished = unfinished_groups(study, runs)
    for group in study.groups:
        if group.name not in unfinished:
            parts += [f"## {group.title}", _describe(group), _group_table(group, runs)]
    if unfinished:
        names = "; ".join(f"{name} ({count})" for name, count in unfinished.items())
        parts.append(f"Left out, because they are not finished: {names}.")
    return "\n\n".join(parts) + "\n"


def _describe_radius(correlations):
    forms = {"means": _RADIUS_OF_MEANS, "seeds": _RADIUS_OF_SEEDS}
    texts = [
        form.format(correlations[name])
        for name, form in forms.items()
        if not pd.isna(correlations[name])
    ]
    return _RADIUS.format(", ".join(texts))


def _describe(group):
    if len(group.seeds) == 1:
        return f"One run each, with the seed {group.seeds[0]}:"
    seeds = ", ".join(map(str, group.seeds))
    text = f"Means over the seeds {seeds} ± half of Student's 95 % interval"
    return f"{text}, and paired differences likewise:" if group.axis else f"{text}:"


def _claims_table(claims, metrics, tested):
    rows = []
    for row in claims.to_dict("records"):
        cells = {"name": row["name"], "minus": row["minus"]}
        for metric, title in metrics.items():
            cells[title] = _format_difference(row, metric)
            if metric == tested:
                cells["p"] = f"{row['p_value']:.4f}"
                cells["p, Holm"] = f"{row['adjusted_p_value']:.4f}"
                cells["positive"] = f"{row['positive']} of {row['pairs']}"
        rows.append(cells)
    return markdown_table(pd.DataFrame(rows))


def _group_table(group, runs):
    rows = []
    for row in summarize_group(group, runs).to_dict("records"):
        cells = {group.axis: f"{row['at']:g}"} if group.axis else {}
        cells |= {"name": row["name"], "method": row["method"], "runs": str(row["runs"])}
        for metric, title in find_metrics(runs).items():
            cells[title] = format_estimate(row[metric], row[f"{metric}_half_width"])
        if "minus" in row:
            is_compared = not pd.isna(row["minus"])
            cells["minus"] = row["minus"] if is_compared else ""
            cells["difference"] = _format_difference(row, "map_at_r") if is_compared else ""
        cells["best step"] = _format_number(row["best_step"], ".0f")
        cells["rounds"] = _format_number(row["rounds"], ".1f")
        cells["steps of round 0"] = _format_number(row["first_round_steps"], ".0f")
        rows.append(cells)
    return markdown_table(pd.DataFrame(rows))


def _format_difference(row: Mapping, metric: str) -> str:
    return format_estimate(
        row[f"{metric}_difference"], row[f"{metric}_half_width_of_difference"], signed=True
    )


def _format_number(value, form):
    return "" if pd.isna(value) else format(value, form)
