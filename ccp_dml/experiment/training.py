"""The modes train and validate: a run in its own folder."""

import contextlib
import os
from typing import Any

from etils import epath

from ccp_dml.distribution import broadcast_from_chief, is_chief, wait_for_all
from ccp_dml.experiment.hardware import use_hardware
from ccp_dml.experiment.interruption import Interruption
from ccp_dml.experiment.published import find_published
from ccp_dml.experiment.results import (
    describe_results,
    finished_results,
    finished_validation,
    results_table,
)
from ccp_dml.experiment.run import Run
from ccp_dml.experiment.run_report import REPORT_FILE, write_report
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.table import make_tables
from ccp_dml.experiment.workdir import WorkdirLock, folder_exists


def train(
    settings: Settings,
    workdir: str | os.PathLike,
    checkpoint_minutes: float = 5.0,
    report: bool = True,
) -> dict[str, Any]:
    """Performs a run in its own folder, unless it is finished, and prints the results.

    All of it runs under the strategy of the settings.

    At the end, the report `report.html` is written, even for a finished run without one. On SIGTERM
    or Ctrl-C, progress is saved.

    Args:
        settings: What to do.
        workdir: Folder for the results, the same one for all workers; any path that `etils.epath`
            knows.
        checkpoint_minutes: Minutes of training between two checkpoints. Defaults to 5.
        report: Whether to write the report. Defaults to `True`.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: See `Run`.
        WorkdirInUseError: If another process works in the folder.
        TrainingFailedError: See `Run.train`.
        RunInterruptedError: See `Run.train`.
        ReportFailedError: If the report cannot be written although the results are complete.
        WorkerLostError: If another worker has ended.
        OSError: If `workdir` cannot be written to.
    """
    workdir = epath.Path(workdir)
    with use_hardware(settings), Interruption() as interruption:
        # A folder is created only if nothing is wrong with the settings and the data.
        run = None if broadcast_from_chief(lambda: folder_exists(workdir)) else Run(settings)
        with WorkdirLock(workdir) if is_chief() else contextlib.nullcontext():
            results = broadcast_from_chief(lambda: finished_results(workdir, settings))
            is_trained = results is None
            if is_trained:
                run = run or Run(settings)
                results = run.train(workdir, checkpoint_minutes, interruption)
            if is_chief():
                _finish(workdir, settings, results, is_trained, report, run)
        # A worker that ends early would break what the chief still waits for.
        wait_for_all()
    return results


def validate(
    settings: Settings, workdir: str | os.PathLike, checkpoint_minutes: float = 5.0
) -> dict[str, Any]:
    """Performs a run that does not measure the test classes, unless it is finished.

    Args:
        settings: What to do.
        workdir: See `train`.
        checkpoint_minutes: See `train`.

    Returns:
        What `validation.json` holds.

    Raises:
        ValueError: If the test classes are used for validation; see also `Run`.
        WorkdirInUseError, TrainingFailedError, RunInterruptedError, OSError: See `train`.
    """
    if settings.validation == "test":
        raise ValueError(
            "validation=test measures the test classes, which must not be used to choose settings: "
            "use validation=classes or validation=samples"
        )
    workdir = epath.Path(workdir)
    with use_hardware(settings), Interruption() as interruption:
        run = Run(settings)
        with WorkdirLock(workdir) if is_chief() else contextlib.nullcontext():
            results = broadcast_from_chief(lambda: finished_validation(workdir, settings))
            if results is None:
                results = run.validate(workdir, checkpoint_minutes, interruption)
        wait_for_all()
    return results


def _finish(workdir, settings, results, is_trained, report, run):
    """Prints the results, and writes the report if it is wanted and missing."""
    if not is_trained:
        print(f"the run in {workdir} is finished: there is nothing to train")
        (workdir / "checkpoints").rmtree(missing_ok=True)
    print(results_table(results, settings.method), flush=True)
    if report and (is_trained or not (workdir / REPORT_FILE).exists()):
        tables = make_tables([workdir], published=find_published)
        write_report(tables, workdir, None if run is None else run.benchmark)
    print(describe_results(workdir, results, settings))
