"""A whole protocol: a run for each fold and seed, several at a time."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence

import tensorflow as tf
from etils import epath

from ccp_dml import distribution
from ccp_dml.atomic_write import atomic_write
from ccp_dml.data import training_batches
from ccp_dml.experiment.flags import command_line, flagfile
from ccp_dml.experiment.interruption import PARENT_VARIABLE
from ccp_dml.experiment.processes import Task, run_side_by_side
from ccp_dml.experiment.results import RESULT_FILES, finished_results
from ccp_dml.experiment.run_folders import contains_runs
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.training_data import load_benchmark, split_benchmark
from ccp_dml.experiment.workdir import move_to_earlier
from ccp_dml.processor_count import count_processors

FLAGFILE = "protocol.flags"
"""All settings of a protocol, in its folder; `flags.txt` is that of a single run."""

# For TensorFlow, for NumPy, and for XLA.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "PJRT_NPROC")
# For TensorFlow and for JAX.
_SHARED_GPUS = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a protocol.

    Attributes:
        settings: Its settings, with its fold and seed.
        workdir: The folder of the protocol.
        name: Name of its folder in `workdir`; empty for a single run, whose folder `workdir` is.
    """

    settings: Settings
    workdir: epath.Path
    name: str

    @property
    def folder(self) -> epath.Path:
        """The folder of the run."""
        return self.workdir / self.name

    @property
    def title(self) -> str:
        """Its name in the line that is printed when it ends."""
        return self.name

    def command(self) -> list[str]:
        """Returns the arguments of Python that train it with the settings in `FLAGFILE`."""
        return [
            "-m",
            "ccp_dml.main",
            f"--flagfile={self.workdir / FLAGFILE}",
            f"--folds={self.settings.fold}",
            f"--seeds={self.settings.seed}",
            f"--workdir={self.folder}",
        ]


def plan_runs(
    settings: Settings,
    folds: Sequence[int],
    seeds: Sequence[int],
    workdir: str | os.PathLike,
    *,
    may_use_workdir: bool = True,
) -> list[PlannedRun]:
    """Plans the runs of a protocol, one for each fold and seed.

    Args:
        settings: The settings that all runs share.
        folds: Folds, from 1; only 1 if the classes are not split in folds.
        seeds: Seeds.
        workdir: Folder of the protocol; a local one is made absolute, so that its commands can be
            run from anywhere.
        may_use_workdir: Whether the folder of a single run is `workdir` itself, unless that already
            contains folders of runs. Defaults to `True`.

    Returns:
        The runs, a fold's seeds next to each other, in folders `fold{k}_seed{s}`, or `seed{s}` if
        the classes are not split in folds.

    Raises:
        ValueError: If a fold or seed is given twice or is out of range, or there are folds without
            `validation=classes`.
    """
    for name, numbers in [("folds", folds), ("seeds", seeds)]:
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{name} must be given once each; got {','.join(map(str, numbers))}")
    has_folds = settings.validation in ("auto", "classes")
    if set(folds) != {1} and not has_folds:
        raise ValueError(
            f"folds are parts of the classes, for validation=classes; got "
            f"{'folds' if len(folds) > 1 else 'fold'} {','.join(map(str, folds))} with "
            f"validation={settings.validation}"
        )
    for fold in folds:
        if has_folds and fold > settings.num_folds:
            raise ValueError(f"folds must be at most num_folds, {settings.num_folds}; got {fold}")
    if "://" not in os.fspath(workdir):
        workdir = os.path.abspath(workdir)
    is_single = len(folds) == len(seeds) == 1
    uses_workdir = may_use_workdir and is_single and not contains_runs(epath.Path(workdir))

    def plan(fold, seed):
        name = f"fold{fold}_seed{seed}" if has_folds else f"seed{seed}"
        own = dataclasses.replace(settings, fold=fold, seed=seed)
        return PlannedRun(own, epath.Path(workdir), "" if uses_workdir else name)

    return [plan(fold, seed) for fold in folds for seed in seeds]


def missing_runs(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Returns the runs that are not finished, including those not yet started."""
    return [run for run in runs if finished_results(run.folder, run.settings) is None]


def move_single_run(runs: Sequence[PlannedRun]):
    """Moves the results of a single run in the folder of a protocol to the folder `earlier`.

    Args:
        runs: All runs of the protocol.

    Raises:
        OSError: If the folder cannot be written to.
    """
    workdir = runs[0].workdir
    if (workdir / "results.json").exists():
        earlier = move_to_earlier(workdir, RESULT_FILES)
        print(f"{workdir} contained the results of a single run, which were moved to {earlier}")


def write_flagfile(runs: Sequence[PlannedRun]):
    """Writes the flagfile of a protocol, `FLAGFILE`, which the commands of its runs refer to.

    Args:
        runs: All runs of the protocol.

    Raises:
        OSError: If the folder cannot be written to.
    """
    first = runs[0]
    lists = {
        "folds": dict.fromkeys(run.settings.fold for run in runs),
        "seeds": dict.fromkeys(run.settings.seed for run in runs),
    }
    text = flagfile(first.settings, first.workdir)
    text += "".join(f"--{name}={','.join(map(str, of))}\n" for name, of in lists.items())
    with atomic_write(first.workdir / FLAGFILE) as unfinished:
        unfinished.write_text(text)


def shell_command(run: PlannedRun) -> str:
    """Returns the command of a run as a line for a shell, Slurm or GNU parallel."""
    return command_line(*run.command())


def prepare_data(runs: Sequence[PlannedRun]):
    """Loads the data that runs share, so that slow work is done once and errors appear early.

    Args:
        runs: The runs.

    Raises:
        ValueError: If the data cannot be loaded or split.
    """
    # The processes of the runs need the memory of the GPUs.
    tf.config.set_visible_devices([], "GPU")
    benchmark = load_benchmark(runs[0].settings)
    for settings in {run.settings.fold: run.settings for run in runs}.values():
        data = split_benchmark(benchmark, settings)
        if settings.cache == "disk":
            # Accessing the images puts them into the cache.
            training_batches(data.train, 1, 1, settings.seed)
            for part in (
                data.validation,
                data.validation_gallery,
                benchmark.test,
                benchmark.gallery,
            ):
                if part is not None:
                    part.evaluation_images()


def process_environments(processes: int, strategy: str = "none") -> list[dict[str, str]]:
    """Returns the environments of several processes that share the machine.

    Args:
        processes: Number of processes at a time.
        strategy: The strategy of the runs. Defaults to `"none"`.

    Returns:
        For each process an environment with its share of the threads and, if there are several
        GPUs, one of them, or its share of them for a strategy of several devices. Processes that
        share a GPU allocate only the memory they need.
    """
    common = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
    if processes == 1:
        # TPUs are not queried: querying a TPU would keep it from the process.
        return [common]
    threads = str(max(1, count_processors() // processes))
    for name in _THREADS:
        common.setdefault(name, threads)
    gpus = _gpu_names()
    if processes > max(1, len(gpus)):
        for name, value in _SHARED_GPUS.items():
            common.setdefault(name, value)
    if not gpus:
        return [dict(common) for _ in range(processes)]
    shares = [[gpus[slot % len(gpus)]] for slot in range(processes)]
    if strategy != "none" and processes < len(gpus):
        shares = [gpus[slot::processes] for slot in range(processes)]
    return [{**common, "CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares]


def _gpu_names():
    """Returns the names of the GPUs for `CUDA_VISIBLE_DEVICES`."""
    count = distribution.count_gpus()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def train_runs(
    runs: Sequence[PlannedRun], environments: Sequence[Mapping[str, str]], arguments: Sequence[str]
) -> list[PlannedRun]:
    """Trains runs, several at a time, and prints a line when one ends.

    A single process at a time writes to this one's console, several to `log.txt` in their folders.
    An exception, such as an interruption, is passed on to the processes, which save their work.

    Args:
        runs: The runs.
        environments: The environment of each of the processes that run at a time.
        arguments: Further flags of their commands.

    Returns:
        The runs that failed.
    """
    by_folder = {os.fspath(run.folder): run for run in runs}
    tasks = (
        Task(folder, [*run.command(), *arguments], run.folder) for folder, run in by_folder.items()
    )
    failed = []
    start = time.monotonic()
    with contextlib.closing(run_side_by_side(lambda: next(tasks, None), environments)) as ended:
        for done, (folder, return_code, log) in enumerate(ended, start=1):
            run = by_folder[folder]
            # Only the report can fail after the results are written.
            if return_code and not _is_complete(run):
                failed.append(run)
            minutes = (time.monotonic() - start) / 60 / done * (len(runs) - done)
            print(
                f"{done} of {len(runs)}: {run.title} {_summary(run, return_code, log)}"
                + (f"; about {minutes:.0f} minutes left" if done < len(runs) else ""),
                flush=True,
            )
    return failed


def _is_complete(run):
    return finished_results(run.folder, run.settings) is not None


def _summary(run, return_code, log):
    see = f", see {log}" if log else ""
    results = finished_results(run.folder, run.settings)
    if results is None:
        return f"FAILED with exit code {return_code}{see}"
    values = (f"{method} {results[method]['map_at_r']:.4f}" for method in run.settings.method)
    without = f", without a report (exit code {return_code}{see})" if return_code else ""
    return f"MAP@R {', '.join(values)}{without}"
