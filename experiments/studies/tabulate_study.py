"""Makes the record, the tables and the figure of the finished runs of a study.

Examples:
  python experiments/studies/tabulate_study.py experiments/studies/renewal --workdir=/tmp/renewal
  python experiments/studies/tabulate_study.py experiments/studies/renewal

The first reads the runs that `run_study.py` left and writes into the folder of the study:
`runs.csv`, every run; `validation.csv`, the validations of the compared variants; `table.md`; and
`figure.png`. The second makes the last two again from the first two. With both `--workdir` and
`--keep_recorded`, runs that are only in `runs.csv` are kept.
"""

import itertools
import pathlib
import sys

import matplotlib.figure
from absl import app, flags

from ccp_dml.experiment.study import read_study
from ccp_dml.experiment.study_runs import (
    add_recorded_runs,
    read_recorded_runs,
    read_study_runs,
    write_recorded_runs,
)
from ccp_dml.experiment.study_table import (
    align_at_first_renewal,
    compare_claims,
    format_study,
    summarize_group,
    unfinished_groups,
)
from ccp_dml.report.figures import line_styles

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs; by default runs.csv is read.")
_KEEP_RECORDED = flags.DEFINE_bool(
    "keep_recorded", False, "Keep runs that are in runs.csv but not in the folder of the runs."
)
_MAX_COLUMNS = 3
# More curves cannot be told apart in one panel.
_MAX_CURVES = 12


def main(argv):
    """Writes the files and prints the tables."""
    if len(argv) != 2:
        sys.exit(f"name one folder with a study.json; got {' '.join(argv[1:]) or 'nothing'}")
    folder = pathlib.Path(argv[1])
    try:
        study = read_study(folder)
        if _WORKDIR.value:
            found = read_study_runs(study, _WORKDIR.value)
            if _KEEP_RECORDED.value:
                found = add_recorded_runs(study, found, read_recorded_runs(folder))
            write_recorded_runs(folder, found)
        else:
            found = read_recorded_runs(folder)
    except (ValueError, OSError) as error:
        sys.exit(f"tabulate_study: {error}")
    tables = format_study(study, found.runs)
    (folder / "table.md").write_text(tables, encoding="utf-8")
    figure = draw(study, found)
    if figure:
        figure.savefig(folder / "figure.png", dpi=90, metadata={"Software": None})
    print(tables)


def draw(study, found):
    """Draws the finished groups: response curves, or the validation of the compared variants.

    If a group has too many variants for that, the differences of the comparisons are drawn instead.
    Without a finished group, nothing is drawn.
    """
    unfinished = unfinished_groups(study, found.runs)
    unfinished_variants = {
        name for group in study.groups if group.name in unfinished for name in group.variants
    } - {name for group in study.groups if group.name not in unfinished for name in group.variants}
    groups = [
        group
        for group in study.groups
        if group.name not in unfinished
        and (group.axis or study.compared_variants & set(group.variants))
    ]
    if not groups:
        return None
    if any(len(group.variants) > _MAX_CURVES for group in groups):
        return _draw_differences(compare_claims(study, found.runs))
    compared = [group for group in groups if not group.axis]
    count = len(groups) + bool(compared) + bool(study.renewals)
    columns = min(_MAX_COLUMNS, count)
    rows = -(-count // columns)
    figure = matplotlib.figure.Figure(figsize=(4.5 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    styles = line_styles(
        [method for settings in study.settings.values() for method in settings.method]
    )
    for axes, group in zip(panels, groups, strict=False):
        axes.set_title(group.title)
        if group.axis:
            _draw_curve(axes, group, found.runs, styles)
        else:
            _draw_validation(axes, group, found.validation)
    if compared:
        _draw_radius(panels[len(groups)], compared, found.runs)
    if study.renewals:
        _draw_renewals(panels[count - 1], study.renewals, found, unfinished_variants)
    for axes in panels[count:]:
        axes.remove()
    return figure


def _draw_differences(claims):
    figure = matplotlib.figure.Figure(figsize=(8, 0.8 + 0.25 * len(claims)), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(
        claims["map_at_r_difference"],
        claims.index,
        xerr=claims["map_at_r_half_width_of_difference"],
        fmt="o",
        capsize=3,
    )
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(claims.index, claims["name"] + " − " + claims["minus"])
    axes.invert_yaxis()
    axes.set_xlabel("difference of MAP@R, test classes")
    return figure


def _draw_curve(axes, group, runs, styles):
    for method, rows in summarize_group(group, runs).groupby("method", sort=False):
        axes.errorbar(
            rows["at"],
            rows["map_at_r"],
            rows["map_at_r_half_width"],
            marker="o",
            capsize=3,
            label=method,
            **styles[method],
        )
    values = list(dict.fromkeys(group.values))
    if min(values) > 0:
        axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xlabel(group.axis)
    axes.set_ylabel("MAP@R of the test classes")
    axes.legend(frameon=False)


def _draw_validation(axes, group, validation):
    own = validation[validation["name"].isin(group.variants)]
    for (name, method), rows in own.groupby(["name", "method"], sort=False):
        means = rows.groupby("step")["validation"].mean()
        axes.plot(means.index, means, label=f"{name}:{method}")
    axes.set_xlabel("step")
    axes.set_ylabel("MAP@R of the validation classes")
    axes.legend(frameon=False, fontsize="small")


def _draw_radius(axes, groups, runs):
    axes.set_title("Covering radius")
    # More variants than colours have different markers.
    markers = itertools.cycle("osD^vPX*<>h")
    for group in groups:
        own = runs[runs["name"].isin(group.variants) & runs["seed"].isin(group.seeds)]
        for (name, method), rows in own.groupby(["name", "method"], sort=False):
            points = axes.scatter(rows["covering_radius"], rows["map_at_r"], s=6, alpha=0.4)
            means = rows[["covering_radius", "map_at_r"]].mean()
            color = points.get_facecolor()[0, :3]
            label = f"{name}:{method}"
            axes.scatter(*means, s=50, marker=next(markers), color=color, label=label)
    axes.set_xlabel("covering radius of the test classes")
    axes.set_ylabel("MAP@R of the test classes")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_renewals(axes, pairs, found, unfinished):
    axes.set_title("Validation from the first renewal")
    for ours, theirs in pairs:
        if unfinished & {ours.rpartition(":")[0], theirs.rpartition(":")[0]}:
            continue
        rows = align_at_first_renewal(found, ours, theirs)
        (line,) = axes.plot(rows["steps"], rows["difference"], label=f"{ours} − {theirs}")
        low, high = (rows["difference"] + sign * rows["half_width"] for sign in (-1, 1))
        axes.fill_between(rows["steps"], low, high, color=line.get_color(), alpha=0.2)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("steps since the first renewal")
    axes.set_ylabel("difference of the validation MAP@R")
    if axes.has_data():
        axes.legend(frameon=False, fontsize="small")


if __name__ == "__main__":
    app.run(main)
