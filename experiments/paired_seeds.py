"""Runs flagfiles over the same seeds and says what CCP gains over the plain loss.

Example:
  python experiments/paired_seeds.py --flagfiles=experiments/glyphs_contrastive.flags \
      --seeds=0,1,2,3,4 --workdir=/tmp/glyphs --table=/tmp/glyphs/table.md

Both methods of a run start from the same weights and take the same batches, so their difference is
paired. Runs that are there already, with the same flags, are not done again: after an interruption
the same command goes on where it stopped. Beside the table, `runs.csv` gets the numbers of every
run. The exit code is 1 if a run failed, 2 if nothing could be run, 130 after an interruption.
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
from typing import NamedTuple

import numpy as np
import scipy.stats
from absl import app, flags

from ccp_dml import main as command

_FLAGFILES = flags.DEFINE_list("flagfiles", None, "Flagfiles of experiments.", required=True)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds, the same for every file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the runs.", required=True)
_PROCESSES = flags.DEFINE_integer(
    "processes",
    os.cpu_count(),
    "How many runs take place side by side, each then with one thread.",
    lower_bound=1,
)
_TABLE = flags.DEFINE_string("table", None, "File for the Markdown table.", required=True)

METHODS = ("before", "plain", "ccp")
_METRICS = {"map_at_r": "MAP@R", "precision_at_1": "P@1", "r_precision": "R-precision"}
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Run(NamedTuple):
    """One run of an experiment.

    Attributes:
        name: Name of its flagfile, without the ending.
        seed: Its seed.
        folder: Where its results go.
        flags: The flags that it is started with.
        settings: All its settings, as `flags.txt` will hold them, but for the workdir.
    """

    name: str
    seed: int
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
        ValueError: If a setting is wrong, or the flagfile does not train both methods.
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
    if set(settings.method) != {"plain", "ccp"}:
        raise ValueError(f"{flagfile}: method must be plain,ccp; got {','.join(settings.method)}")
    all_settings = _without_workdir(command.flagfile(flag_values))
    return Run(flagfile.stem, seed, folder, arguments, all_settings)


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
    complete = made_with == run.settings and set(METHODS) <= set(results)
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


def table(results: Mapping[str, Sequence[Mapping]]) -> str:
    """The Markdown table.

    Args:
        results: For each name the contents of `results.json`, one a seed.
    """
    columns = ["", "", "seeds", *METHODS, "ccp − plain", "positive", "rounds"]
    lines = [f"| {' | '.join(columns)} |", "| --- | --- |" + " ---: |" * (len(columns) - 2)]
    for name, of_seeds in results.items():
        for metric, title in _METRICS.items():
            values = {
                method: [of_seed[method][metric] for of_seed in of_seeds] for method in METHODS
            }
            gain = paired_difference(values["ccp"], values["plain"])
            interval = "" if math.isnan(gain.half_width) else f" ± {gain.half_width:.4f}"
            rounds = np.mean([of_seed["ccp"]["rounds"] for of_seed in of_seeds])
            cells = [
                name,
                title,
                str(len(of_seeds)),
                *(_mean_and_deviation(values[method]) for method in METHODS),
                f"{gain.mean:+.4f}{interval}",
                f"{gain.positive} of {len(of_seeds)}",
                f"{rounds:.1f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean_and_deviation(values):
    mean = f"{np.mean(values):.4f}"
    return f"{mean} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else mean


def write_runs(path: pathlib.Path, results: Mapping[Run, Mapping]):
    """Writes the numbers of every run and method as CSV.

    Args:
        path: The file.
        results: The contents of `results.json` of each run.
    """
    rows = [
        {"name": run.name, "seed": run.seed, "method": method, **of_run[method]}
        for run, of_run in results.items()
        for method in METHODS
    ]
    columns = list(dict.fromkeys(column for row in reversed(rows) for column in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


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
    return "MAP@R " + ", ".join(f"{method} {results[method]['map_at_r']:.4f}" for method in METHODS)


def _report(runs):
    """Writes the table and the CSV of the runs that are complete."""
    results = {run: of_run for run in runs if (of_run := results_of(run)) is not None}
    if not results:
        return
    of_name = {}
    for run, of_run in results.items():
        of_name.setdefault(run.name, []).append(of_run)
    path = pathlib.Path(_TABLE.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table(of_name))
    write_runs(path.with_name("runs.csv"), results)
    print(path.read_text())


def main(_):
    """Runs what is missing and writes the table."""
    workdir = pathlib.Path(_WORKDIR.value)
    try:
        seeds = [int(seed) for seed in _SEEDS.value]
        runs = [
            planned_run(pathlib.Path(flagfile), seed, workdir)
            for flagfile in _FLAGFILES.value
            for seed in seeds
        ]
        if len({run.folder for run in runs}) < len(runs):
            raise ValueError("flagfiles must have different names and seeds must be different")
    except ValueError as error:
        print(f"paired_seeds: {error}", file=sys.stderr)
        return 2
    missing = [run for run in runs if results_of(run) is None]
    print(f"{len(runs) - len(missing)} of {len(runs)} runs are there already", flush=True)
    try:
        failed = run_all(missing, _PROCESSES.value)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        _report(runs)
        return 130
    _report(runs)
    for run in failed:
        print(f"failed: {run.name}, seed {run.seed}, see {_log(run)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    app.run(main)
