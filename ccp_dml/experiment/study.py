"""A study: variants of one setting, each trained with several seeds, and their comparisons."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epath

from ccp_dml.checks import check_one_of
from ccp_dml.experiment.flags import define_flags, settings_from
from ccp_dml.experiment.protocol import PlannedRun, plan_runs, write_flagfile
from ccp_dml.experiment.settings import Settings

STUDY_FILE = "study.json"
# Titles of the metrics of a study by name, and of those that it has with `--clustering`.
METRICS = {"map_at_r": "MAP@R", "precision_at_1": "P@1", "covering_radius": "covering radius"}
CLUSTERING_METRICS = {"nmi": "NMI", "pairwise_f1": "F1"}
_KEYS = {
    "study": {"title", "base", "variants", "groups", "comparisons", "renewals", "metric"},
    "group": {"name", "title", "seeds", "variants", "axis", "points", "minus"},
}


@dataclasses.dataclass(frozen=True)
class Group:
    """Variants that are trained with the same seeds and shown together.

    Attributes:
        name: Its name.
        title: Its title, what it shows.
        seeds: The seeds.
        variants: The variants, in the order of their training.
        axis: What the variants differ in, if they are points of a response curve; otherwise empty.
        values: Position of each variant on the axis, if there is one.
        minus: What is subtracted from each variant of a curve, `"variant:method"`; empty for the
            first method of the variant itself.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...]
    axis: str = ""
    values: tuple[float, ...] = ()
    minus: str = ""


@dataclasses.dataclass(frozen=True)
class Study:
    """The contents of a `study.json`; see `read_study`.

    Attributes:
        title: What is studied.
        settings: The settings of each variant, by its name.
        groups: The groups, in the order of their training.
        comparisons: Pairs of `"variant:method"`: the first minus the second. These are the claims
            of the study, one family for the correction of p-values.
        renewals: Pairs, likewise, whose validation is plotted from the first renewal of the first
            side.
        metric: Name of the metric that the claims are about, whose differences are tested.
    """

    title: str
    settings: Mapping[str, Settings]
    groups: tuple[Group, ...]
    comparisons: tuple[tuple[str, str], ...]
    renewals: tuple[tuple[str, str], ...] = ()
    metric: str = "map_at_r"

    @property
    def compared_variants(self) -> frozenset[str]:
        """Names of the variants in the comparisons."""
        return frozenset(side.rpartition(":")[0] for pair in self.comparisons for side in pair)

    def seeds(self, variant: str) -> list[int]:
        """Returns the seeds of a variant in all groups, in the order of their training."""
        return list(
            dict.fromkeys(
                seed for group in self.groups if variant in group.variants for seed in group.seeds
            )
        )


@dataclasses.dataclass(frozen=True)
class StudyRun(PlannedRun):
    """A run of a study; `workdir` is the folder of its variant."""

    @property
    def title(self) -> str:
        return f"{self.workdir.name} {self.name}"


def read_study(folder: str | os.PathLike) -> Study:
    """Reads the description of a study.

    `study.json` holds

    - `title`: what is studied;
    - `base`: a flagfile in the folder, with the settings that all variants share;
    - `variants`: for each name a list of flags that follow those of the flagfile;
    - `groups`: a list, in the order of training, of objects with `name`, `title`, `seeds` and
      `variants`, a list of names; or, for a response curve, `axis`, in words, and `points`, the
      name of a variant for each number on the axis, with `minus` if their differences are to be
      taken from one `variant:method`. A variant can be in several groups: each seed is trained
      once;
    - `comparisons`: pairs of `variant:method`;
    - `renewals`, optional: some of these pairs, whose validation is plotted over the steps since
      the first renewal;
    - `metric`, optional: the name of the metric that is tested, `"map_at_r"` by default, `"nmi"` or
      `"pairwise_f1"` if all variants have `--clustering`.

    Args:
        folder: The folder.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If something in the description is wrong.
    """
    path = epath.Path(folder) / STUDY_FILE
    try:
        description = json.loads(path.read_text())
        _check_keys("study", description)
        settings = {
            name: _parse_flags(path.parent / description["base"], arguments)
            for name, arguments in description["variants"].items()
        }
        groups = tuple(_parse_group(group) for group in description["groups"])
        comparisons = tuple((ours, theirs) for ours, theirs in description["comparisons"])
        renewals = tuple((ours, theirs) for ours, theirs in description.get("renewals", []))
        _check_names(settings, groups, (*comparisons, *renewals))
        metric = description.get("metric", "map_at_r")
        has_clusters = all(each.clustering for each in settings.values())
        check_one_of("metric", metric, [*METRICS, *(CLUSTERING_METRICS if has_clusters else ())])
        study = Study(description["title"], settings, groups, comparisons, renewals, metric)
        _check_pairs(study)
    except KeyError as error:
        raise ValueError(f"{path}: {error} is missing") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return study


def plan_study(
    study: Study, workdir: str | os.PathLike, groups: Sequence[str] | None = None
) -> list[StudyRun]:
    """Plans the runs of a study in the order of their training: group by group, seed by seed.

    Args:
        study: The study.
        workdir: Its folder of results, with a protocol folder for every variant.
        groups: Names of the groups to train. Defaults to `None`: all.

    Raises:
        ValueError: If there is no such group.
    """
    names = [group.name for group in study.groups]
    for group in groups or ():
        check_one_of("group", group, names)
    runs: dict[tuple[str, int], StudyRun] = {}
    for name, settings in study.settings.items():
        folder = epath.Path(workdir) / name
        for run in plan_runs(
            settings, [settings.fold], study.seeds(name), folder, may_use_workdir=False
        ):
            runs[name, run.settings.seed] = StudyRun(run.settings, run.workdir, run.name)
    order = dict.fromkeys(
        (variant, seed)
        for group in study.groups
        if groups is None or group.name in groups
        for seed in group.seeds
        for variant in group.variants
    )
    return [runs[key] for key in order]


def write_flagfiles(runs: Sequence[StudyRun]):
    """Writes the flagfile of every variant, which the commands of its runs refer to.

    Args:
        runs: All runs of the study.

    Raises:
        OSError: If a folder cannot be written to.
    """
    for runs_of_variant in runs_by_variant(runs).values():
        write_flagfile(runs_of_variant)


def runs_by_variant(runs: Sequence[PlannedRun]) -> dict[str, list[PlannedRun]]:
    """Returns the runs of each variant, by its name."""
    variants: dict[str, list[PlannedRun]] = {}
    for run in runs:
        variants.setdefault(run.workdir.name, []).append(run)
    return variants


def _parse_flags(base, arguments):
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    try:
        flag_values(["ccp_dml", f"--flagfile={base}", *arguments])
    except flags.Error as error:
        raise ValueError(f"{' '.join(arguments)}: {error}") from error
    return settings_from(flag_values)


def _parse_group(group: Mapping[str, Any]) -> Group:
    _check_keys("group", group)
    points = group.get("points", {})
    return Group(
        group["name"],
        group["title"],
        tuple(group["seeds"]),
        tuple(points.values()) if points else tuple(group["variants"]),
        group["axis"] if points else "",
        tuple(map(float, points)),
        group.get("minus", ""),
    )


def _check_keys(kind, description):
    for key in description:
        check_one_of(f"key of a {kind}", key, sorted(_KEYS[kind]))


def _check_names(settings, groups, comparisons):
    methods = [f"{name}:{method}" for name, each in settings.items() for method in each.method]
    for group in groups:
        for variant in group.variants:
            check_one_of(f"variant of {group.name}", variant, list(settings))
        if group.minus:
            check_one_of(f"minus of {group.name}", group.minus, methods)
    for pair in comparisons:
        for each in pair:
            check_one_of("comparison", each, methods)


def _check_pairs(study):
    for ours, theirs in (*study.comparisons, *study.renewals):
        seeds = [set(study.seeds(side.rpartition(":")[0])) for side in (ours, theirs)]
        if len(seeds[0] & seeds[1]) < 2:
            raise ValueError(
                f"the sides of a comparison need at least two seeds in common; "
                f"{ours} and {theirs} have {len(seeds[0] & seeds[1])}"
            )
