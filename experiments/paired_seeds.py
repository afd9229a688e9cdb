"""Runs flagfiles over the same seeds and says what each method gains over another.

Example:
  python experiments/paired_seeds.py --seeds=0,1,2,3,4 --workdir=/tmp/glyphs \
      --flagfiles=experiments/glyphs/contrastive.flags,experiments/glyphs/xbm.flags \
      --table=/tmp/glyphs/table.md --baseline=contrastive:plain

Methods of the same seed start from the same weights and, if their batches are of the same form,
take the same batches, also from one flagfile to another: their differences are paired. Runs that
are there already, with the same flags, are not done again: after an interruption the same command
goes on where it stopped.

`runs.csv`, beside the table, is the record: a row for each flagfile (its name without the ending),
seed and method. New rows replace those of the same three and are added to the others. The table is
made from the whole record; without `--flagfiles` nothing else is done. The record does not know of
settings: when a flagfile has changed, run all its seeds and methods, or take its rows out.

The exit code is 1 if a run failed, 2 if nothing could be done, 130 after an interruption.
"""

import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from absl import app, flags

from ccp_dml import main as command

_FLAGFILES = flags.DEFINE_list(
    "flagfiles", [], "Flagfiles of experiments; none to make the table from the record alone."
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds, the same for every file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the runs.")
_PROCESSES = flags.DEFINE_integer(
    "processes",
    os.cpu_count(),
    "How many runs take place side by side, each then with one thread.",
    lower_bound=1,
)
_TABLE = flags.DEFINE_string(
    "table",
    None,
    "File for the Markdown table; the record, runs.csv, is in the same folder.",
    required=True,
)
_BASELINE = flags.DEFINE_string(
    "baseline",
    None,
    "What all rows are compared with, such as contrastive:plain, the method plain of "
    "contrastive.flags; by default each flagfile's methods are compared with its first.",
)

RECORD = "runs.csv"
BEFORE = "before"
_METRICS = {
    "map_at_r": "MAP@R",
    "precision_at_1": "P@1",
    "r_precision": "R-precision",
    "nmi": "NMI",
    "pairwise_f1": "F1",
}
_COMPARED = "map_at_r"
_SHOWN = (*_METRICS, "rounds")
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Run(NamedTuple):
    """One run of an experiment.

    Attributes:
        name: Name of its flagfile, without the ending.
        seed: Its seed.
        methods: The methods that it trains.
        folder: Where its results go.
        flags: The flags that it is started with.
        settings: All its settings, as `flags.txt` will hold them, but for the workdir.
    """

    name: str
    seed: int
    methods: tuple[str, ...]
    folder: pathlib.Path
    flags: tuple[str, ...]
    settings: tuple[str, ...]


class PairedDifference(NamedTuple):
    """What one method has over another over the same seeds.

    Attributes:
        mean: Mean of the differences.
        half_width: Half the width of the confidence interval about it; NaN for a single seed.
        positive: In how many of the seeds the difference is above 0.
    """

    mean: float
    half_width: float
    positive: int


def planned_run(flagfile: pathlib.Path, seed: int, workdir: pathlib.Path) -> Run:
    """The run of a flagfile with a seed.

    Raises:
        ValueError: If a setting is wrong.
    """
    flag_values = flags.FlagValues()
    command.define_flags(flag_values)
    folder = workdir / flagfile.stem / f"seed-{seed}"
    arguments = (f"--flagfile={flagfile}", f"--seed={seed}", f"--workdir={folder}")
    try:
        flag_values(["ccp_dml", *arguments])
        settings = command.settings_from(flag_values)
    except (flags.Error, ValueError) as error:
        raise ValueError(f"{flagfile}: {error}") from error
    all_settings = _without_workdir(command.flagfile(flag_values))
    return Run(flagfile.stem, seed, settings.method, folder, arguments, all_settings)


def _without_workdir(text):
    return tuple(line for line in text.splitlines() if not line.startswith("--workdir"))


def results_of(run: Run) -> dict | None:
    """What `results.json` of a run holds, `None` if it is not there, incomplete, or of other flags.

    Args:
        run: The run.
    """
    try:
        made_with = _without_workdir((run.folder / "flags.txt").read_text())
        results = json.loads((run.folder / "results.json").read_text())
    except (OSError, ValueError):
        return None
    complete = made_with == run.settings and {BEFORE, *run.methods} <= set(results)
    return results if complete else None


def paired_difference(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95
) -> PairedDifference:
    """Mean of the paired differences `ours − theirs` with Student's interval.

    Args:
        ours: One number a seed.
        theirs: One number a seed, in the same order.
        confidence: Of the interval. Defaults to 0.95.

    Raises:
        ValueError: If the numbers are not pairs.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} numbers are not pairs")
    differences = np.subtract(ours, theirs)
    half_width = math.nan
    if len(differences) > 1:
        standard_error = differences.std(ddof=1) / math.sqrt(len(differences))
        quantile = scipy.stats.t.ppf((1 + confidence) / 2, len(differences) - 1)
        half_width = float(quantile * standard_error)
    return PairedDifference(float(differences.mean()), half_width, int((differences > 0).sum()))


def rows_of(run: Run, results: Mapping) -> list[dict]:
    """The rows of a run in the record: one for the state before training and for each method.

    Args:
        run: The run.
        results: The contents of its `results.json`.
    """
    return [
        {"name": run.name, "seed": run.seed, "method": method, **results[method]}
        for method in (BEFORE, *run.methods)
    ]


def read_record(path: pathlib.Path) -> list[dict]:
    """The rows of `runs.csv`, none if the file is not there.

    Seeds are integers; other numbers stay as they are written, so that nothing is rounded.

    Args:
        path: The file.

    Raises:
        ValueError: If the file is not such a record; the message names the line.
    """
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for column in ("name", "seed", "method", _COMPARED):
            if column not in (reader.fieldnames or []):
                raise ValueError(f"{path} has no column {column!r}")
        for row in reader:
            try:
                if None in row or None in row.values():
                    raise ValueError(f"there must be {len(reader.fieldnames)} cells")
                for column in (_COMPARED, *(name for name in _SHOWN if _has(row, name))):
                    float(row[column])
                rows.append({**row, "seed": int(row["seed"])})
            except ValueError as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def merged(record: Sequence[Mapping], rows: Sequence[Mapping]) -> list[Mapping]:
    """The record with new rows, which replace those of the same name, seed and method.

    Names stay in their order, new ones come last; the rows of a name are in the order of seeds.

    Args:
        record: Rows of `read_record`.
        rows: Rows of `rows_of`.
    """
    names = list(dict.fromkeys(row["name"] for row in [*record, *rows]))
    new, old = ({_key(row): row for row in each} for each in (rows, record))
    # Methods are in the order of the flagfile as it is now.
    both = [*new.values(), *(row for key, row in old.items() if key not in new)]
    return sorted(both, key=lambda row: (names.index(row["name"]), row["seed"]))


def _key(row):
    return row["name"], row["seed"], row["method"]


def write_record(path: pathlib.Path, rows: Sequence[Mapping]):
    """Writes `runs.csv`.

    Args:
        path: The file.
        rows: Its rows; what one of them does not have stays empty.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    unfinished.replace(path)


def table(rows: Sequence[Mapping[str, Any]], baseline: tuple[str, str] | None = None) -> str:
    """The Markdown table, a row for each flagfile and method.

    The state before training has one where it is another than those above. A metric that no row has
    is left out.

    Args:
        rows: Rows of the record.
        baseline: Name of the flagfile and method that all others are compared with, over the seeds
            that both have. Defaults to `None`: the first method of the same flagfile.
    """
    groups: dict[tuple[str, str], dict[int, Mapping]] = {}
    for row in rows:
        groups.setdefault((row["name"], row["method"]), {})[row["seed"]] = row
    metrics = [metric for metric in _METRICS if any(_has(row, metric) for row in rows)]
    first = {}
    for name, method in groups:
        if method != BEFORE:
            first.setdefault(name, (name, method))
    compared_with = ":".join(baseline) if baseline else "first method"
    titles = [_METRICS[metric] for metric in metrics]
    columns = ["flagfile", "method", "seeds", *titles, "rounds"]
    columns += [f"{_METRICS[_COMPARED]} − {compared_with}", "positive"]
    lines = [f"| {' | '.join(columns)} |", "| --- | --- |" + " ---: |" * (len(columns) - 2)]
    shown_before = set()
    for (name, method), of_seeds in groups.items():
        cells = [_mean_and_deviation(of_seeds.values(), metric) for metric in metrics]
        comparison = ["", ""]
        if method == BEFORE:
            states = {
                (seed, *(_mean_and_deviation([row], metric) for metric in metrics))
                for seed, row in of_seeds.items()
            }
            if states <= shown_before:
                continue
            shown_before |= states
        elif (name, method) != (theirs := baseline or first[name]):
            comparison = _comparison(of_seeds, groups.get(theirs, {}))
        rounds = _numbers(of_seeds.values(), "rounds")
        cells += [f"{np.mean(rounds):.1f}" if rounds else "", *comparison]
        lines.append(f"| {' | '.join([name, method, str(len(of_seeds)), *cells])} |")
    return "\n".join(lines) + "\n"


def _has(row, column):
    return row.get(column, "") != ""


def _numbers(rows, column):
    """The numbers of a column, none unless every row has one."""
    return [float(row[column]) for row in rows] if all(_has(row, column) for row in rows) else []


def _mean_and_deviation(rows, metric):
    values = _numbers(rows, metric)
    if not values:
        return ""
    mean = f"{np.mean(values):.4f}"
    return f"{mean} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else mean


def _comparison(ours, theirs):
    """The cells with the paired difference and in how many seeds it is positive."""
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return ["", ""]
    gain = paired_difference(
        *([float(of_seeds[seed][_COMPARED]) for seed in seeds] for of_seeds in (ours, theirs))
    )
    interval = "" if math.isnan(gain.half_width) else f" ± {gain.half_width:.4f}"
    return [f"{gain.mean:+.4f}{interval}", f"{gain.positive} of {len(seeds)}"]


def run_all(runs: Sequence[Run], processes: int) -> list[Run]:
    """Does runs, several side by side, and prints a line when one ends.

    Args:
        runs: The runs.
        processes: How many take place at a time.

    Returns:
        The runs that failed.
    """
    waiting, running, failed, done = list(runs), {}, [], 0
    environment = {**os.environ, **(_ONE_THREAD if processes > 1 else {})}
    start = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                run = waiting.pop(0)
                running[run] = _started(run, environment)
            time.sleep(0.2)
            for run in [run for run, process in running.items() if process.poll() is not None]:
                del running[run]
                done += 1
                results = results_of(run)
                if results is None:
                    failed.append(run)
                seconds_left = (time.monotonic() - start) / done * (len(runs) - done)
                print(
                    f"{done}/{len(runs)} {run.name}, seed {run.seed}: {_summary(run, results)}; "
                    f"about {seconds_left / 60:.0f} minutes left",
                    flush=True,
                )
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return failed


def _started(run, environment):
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with _log(run).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ccp_dml.main", *run.flags],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _log(run):
    return run.folder.with_name(f"{run.folder.name}.log")


def _summary(run, results):
    if results is None:
        return f"FAILED, see {_log(run)}"
    values = ", ".join(f"{method} {results[method][_COMPARED]:.4f}" for method in run.methods)
    return f"{_METRICS[_COMPARED]} {values}"


def report(path: pathlib.Path, rows: Sequence[Mapping], baseline: tuple[str, str] | None = None):
    """Adds rows to the record beside a table, and makes the table from the record.

    Args:
        path: File for the table.
        rows: Rows of `rows_of`.
        baseline: See `table`.

    Raises:
        ValueError: If the record is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record_path = path.with_name(RECORD)
    # Read only now: another call may have added to it meanwhile.
    record = merged(read_record(record_path), rows)
    if rows:
        write_record(record_path, record)
    if record:
        path.write_text(table(record, baseline), encoding="utf-8")
        print(path.read_text(encoding="utf-8"))


def _planned_runs():
    if not _FLAGFILES.value:
        return []
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing: name a folder for the runs")
    runs = [
        planned_run(pathlib.Path(flagfile), int(seed), pathlib.Path(_WORKDIR.value))
        for flagfile in _FLAGFILES.value
        for seed in _SEEDS.value
    ]
    if len({run.folder for run in runs}) < len(runs):
        raise ValueError("flagfiles must have different names and seeds must be different")
    return runs


def _baseline(record, runs):
    """The baseline of the flag, which must be in the record or planned."""
    if _BASELINE.value is None:
        return None
    known = [(row["name"], row["method"]) for row in record if row["method"] != BEFORE]
    known += [(run.name, method) for run in runs for method in run.methods]
    name, _, method = _BASELINE.value.rpartition(":")
    if (name, method) not in known:
        choices = ", ".join(dict.fromkeys(":".join(each) for each in known))
        raise ValueError(f"baseline must be one of {choices}; got {_BASELINE.value!r}")
    return name, method


def main(_):
    """Runs what is missing, adds it to the record and makes the table."""
    path = pathlib.Path(_TABLE.value)
    try:
        runs = _planned_runs()
        record = read_record(path.with_name(RECORD))
        if not runs and not record:
            raise ValueError(f"no flagfiles to run, and no runs in {path.with_name(RECORD)}")
        baseline = _baseline(record, runs)
    except ValueError as error:
        print(f"paired_seeds: {error}", file=sys.stderr)
        return 2
    missing = [run for run in runs if results_of(run) is None]
    if runs:
        print(f"{len(runs) - len(missing)} of {len(runs)} runs are there already", flush=True)
    interrupted, failed = False, []
    try:
        failed = run_all(missing, _PROCESSES.value)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        interrupted = True
    complete = {run: results for run in runs if (results := results_of(run)) is not None}
    report(
        path, [row for run, results in complete.items() for row in rows_of(run, results)], baseline
    )
    for run in failed:
        print(f"failed: {run.name}, seed {run.seed}, see {_log(run)}", file=sys.stderr)
    if interrupted:
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    app.run(main)
