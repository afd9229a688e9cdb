"""The mode tune: a search for settings by validation."""

import contextlib
import dataclasses
import hashlib
import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_at_least, check_one_of
from ccp_dml.experiment.flags import flagfile, settings_from_text
from ccp_dml.experiment.interruption import Interruption
from ccp_dml.experiment.metrics import metric_titles
from ccp_dml.experiment.optuna_study import SAMPLERS, OptunaStudy, hide_password, import_optuna
from ccp_dml.experiment.processes import EndedTask, Task, run_side_by_side
from ccp_dml.experiment.protocol import (
    PlannedRun,
    plan_runs,
    prepare_data,
    process_environments,
    write_flagfile,
)
from ccp_dml.experiment.results import finished_validation
from ccp_dml.experiment.search_space import (
    SearchParameter,
    check_space,
    count_grid_points,
    parse_space,
    with_values,
)
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.trials import (
    Trial,
    best_trials,
    format_best,
    format_importances,
    format_value,
    respond,
    trials_frame,
)
from ccp_dml.experiment.workdir import WorkdirLock, move_to_earlier
from ccp_dml.report import draw_responses, format_estimate

FLAGFILE = "tune.flags"
"""All settings of a search, in its folder."""

_DATABASE = "tune.db"
_FILES = (FLAGFILE, _DATABASE, "trials", "trials.csv", "best.flags", "responses.png")
# Number of failures before any success after which the search gives up.
_MAX_FAILURES = 3
_KEPT_OF_RUNS = ("best_step", "steps", "rounds", "seconds", "best_phase")


@dataclasses.dataclass(frozen=True)
class Search:
    """The space and the procedure of a search.

    Attributes:
        settings: The settings that all trials share, with a single method.
        space: What they vary; see `ccp_dml.experiment.search_space.parse_space`.
        num_trials: Number of trials, including failed ones. Defaults to 40.
        sampler: `"tpe"` (the default), `"random"` or `"grid"`, which tries all combinations.
        folds: Folds to train in each trial. Defaults to that of the settings.
        seeds: Seeds to train in each trial. Defaults to that of the settings.
        prunes: Whether to end a trial after any of its runs if their mean is below the median of
            the other trials after the same number of runs. Defaults to `False`.

    Raises:
        ValueError: If settings and space do not fit each other, there are several methods, the test
            classes are used for validation, or a grid has more points than there are trials.
    """

    settings: Settings
    space: str
    num_trials: int = 40
    sampler: str = "tpe"
    folds: Sequence[int] = ()
    seeds: Sequence[int] = ()
    prunes: bool = False

    def __post_init__(self):
        settings = self.settings
        check_at_least("tune_trials", self.num_trials, 1)
        check_one_of("tune_sampler", self.sampler, SAMPLERS)
        if len(settings.method) > 1:
            raise ValueError(
                "method must name the single method whose settings are searched; got "
                f"{','.join(settings.method)}"
            )
        if settings.validation == "test":
            raise ValueError(
                "validation=test would choose settings by the test classes: use "
                "validation=classes or validation=samples"
            )
        check_space(self.parameters, settings)
        if self.sampler == "grid" and count_grid_points(self.parameters) > self.num_trials:
            raise ValueError(
                f"the grid has {count_grid_points(self.parameters)} points, more than "
                f"tune_trials={self.num_trials}: raise it, or give ranges fewer points"
            )

    @property
    def parameters(self) -> tuple[SearchParameter, ...]:
        """The space, parsed."""
        return parse_space(self.space)

    @property
    def metric(self) -> str:
        """Title of the metric of validation in tables."""
        name = self.settings.monitor
        return f"validation {metric_titles({'': {name: 0.0}})[name]}"

    @property
    def max_trials(self) -> int:
        """Final number of trials."""
        return count_grid_points(self.parameters) if self.sampler == "grid" else self.num_trials

    def plan(self, workdir: epath.Path, values: Mapping) -> list[PlannedRun]:
        """The runs of a trial.

        Args:
            workdir: The folder of the trial.
            values: Values of the parameters.

        Raises:
            ValueError: If the values do not fit each other.
        """
        settings = with_values(self.settings, values)
        return plan_runs(
            settings, self.folds or [settings.fold], self.seeds or [settings.seed], workdir
        )

    def study_name(self) -> str:
        """Returns a name that is unique to this search, whatever its number of trials."""
        # Read again, so that 10 and 10.0 are the same number.
        settings = settings_from_text(flagfile(self.settings.without_machine()))
        decisive = (
            flagfile(settings),
            list(self.folds),
            list(self.seeds),
            self.parameters,
            self.sampler,
            self.prunes,
            keras.backend.backend(),
        )
        return f"ccp_dml-{hashlib.sha256(repr(decisive).encode()).hexdigest()[:12]}"


def tune(
    search: Search,
    workdir: str | os.PathLike,
    storage: str | None = None,
    processes: int = 1,
    arguments: Sequence[str] = (),
) -> list[Trial]:
    """Performs the missing trials of a search and shows the results.

    Trials that were running when a search was killed resume from their last checkpoints. It writes
    `tune.flags`; `tune.db`, Optuna's database; `trials`, with a folder for each trial;
    `trials.csv`; `best.flags`, the settings of the best trial for the mode train; and
    `responses.png`. Files of another search are moved to the folder `earlier`.

    Args:
        search: The search.
        workdir: Folder for the results; a local one if there is no `storage`.
        storage: URL of a database that several machines share, as SQLAlchemy takes it, such as
            `postgresql://me@host/trials`; those with the same search divide its trials. Defaults to
            `None`: `tune.db`.
        processes: Number of trials at a time. Defaults to 1.
        arguments: Further flags of the trials' commands. Defaults to none.

    Returns:
        All trials.

    Raises:
        ValueError: If Optuna or the database is missing, the data cannot be loaded, or the first
            trials have all failed.
        WorkdirInUseError: If another process works in the folder.
        RunInterruptedError: If a signal was received; progress is saved.
        OSError: If the folder cannot be written to.
    """
    if storage is None and "://" in os.fspath(workdir):
        raise ValueError(
            f"workdir {workdir} cannot hold a database: use a local folder, or name a server with "
            "--tune_storage"
        )
    # Before a folder is created.
    import_optuna()
    folder = epath.Path(workdir)
    url = storage or local_database(folder)
    with Interruption(), WorkdirLock(folder):
        _prepare_folder(search, folder)
        # Asked before the GPUs are hidden from this process.
        environments = process_environments(
            min(processes, search.max_trials), search.settings.strategy
        )
        place = None if storage is None else f"{socket.gethostname()}:{folder}"
        study = OptunaStudy(
            url,
            search.study_name(),
            search.parameters,
            search.sampler,
            search.settings.seed,
            place,
        )
        if storage is not None:
            print(f"the trials are in {hide_password(storage)}, study {search.study_name()}")
        _TrialRunner(search, folder, study, arguments).run(environments)
        trials = study.trials()
        importances = study.rank_parameters()
    _show(search, folder, trials, importances)
    return trials


def local_database(workdir: epath.Path) -> str:
    """Returns the URL of the database in a folder, as Optuna takes it.

    Raises:
        ValueError: If the folder cannot be part of a URL.
    """
    path = os.fspath(workdir / _DATABASE)
    if "?" in path:
        raise ValueError(
            f"workdir {workdir} cannot hold a database, whose address would end at the question "
            "mark: use another folder, or name a server with --tune_storage"
        )
    # Optuna substitutes names in single braces.
    return f"sqlite:///{path.replace('{', '{{').replace('}', '}}')}"


def _prepare_folder(search, workdir):
    """Moves the files of another search away and writes the flagfile of this one."""
    first_line = f"# {search.study_name()}\n"
    path = workdir / FLAGFILE
    if not path.exists() or not path.read_text().startswith(first_line):
        earlier = move_to_earlier(workdir, _FILES)
        if earlier is not None:
            print(f"{workdir} contained another search, which was moved to {earlier}")
    flags = {
        "mode": "tune",
        "tune_space": search.space,
        "tune_sampler": search.sampler,
        "tune_trials": search.num_trials,
        "tune_pruning": str(search.prunes).lower(),
    }
    flags |= {
        name: ",".join(map(str, numbers))
        for name, numbers in (("folds", search.folds), ("seeds", search.seeds))
        if numbers
    }
    lines = "".join(f"--{name}={value}\n" for name, value in flags.items())
    with atomic_write(path) as unfinished:
        unfinished.write_text(first_line + lines + flagfile(search.settings, workdir))


class _TrialRunner:
    """Performs trials, each with its runs one after the other, until there are enough."""

    def __init__(self, search, workdir, study, arguments):
        self.search, self.workdir, self.study = search, workdir, study
        self.arguments = ["--mode=validate", *arguments]
        self.is_prepared = False
        # The next run of each started trial without a process, and trials by the folder of their
        # current run.
        self.waiting: deque[tuple[Trial, PlannedRun]] = deque()
        self.running: dict[str, Trial] = {}
        self.ended = 0
        self.start = time.monotonic()

    def run(self, environments):
        ended_before = sum(trial.state != "running" for trial in self.study.trials())
        if ended_before:
            print(f"{ended_before} of {self.search.max_trials} trials are finished", flush=True)
        if len(environments) > 1:
            print(f"the trials write their output to {self.workdir}/trials/**/log.txt", flush=True)
        for trial in self.study.list_unfinished():
            self._resume(trial)
        with contextlib.closing(run_side_by_side(self._next_task, environments)) as ended:
            for task in ended:
                self._end_run(task)

    def _next_task(self):
        while not self.waiting:
            trial = self.study.start(self.search.max_trials)
            if trial is None:
                return None
            self._resume(trial)
        trial, run = self.waiting.popleft()
        self.running[os.fspath(run.folder)] = trial
        if not self.is_prepared:
            prepare_data(self.search.plan(self.workdir, {}))
            self.is_prepared = True
        return Task(os.fspath(run.folder), [*run.command(), *self.arguments], run.folder)

    def _resume(self, trial):
        """Queues the next run of a trial, or ends the trial."""
        folder = self.workdir / "trials" / f"{trial.number:04}"
        try:
            runs = self.search.plan(folder, trial.values)
        except ValueError as error:
            self._fail(trial, str(error))
            return
        scores = []
        for run in runs:
            results = finished_validation(run.folder, run.settings)
            if results is None:
                write_flagfile(runs)
                self.waiting.appendleft((trial, run))
                return
            if self._keep(trial, run, results, scores) and run is not runs[-1]:
                self.study.prune(trial.number)
                self._report_end(trial.number)
                return
        self.study.finish(trial.number, float(np.mean(scores)))
        self._report_end(trial.number)

    def _keep(self, trial, run, results, scores):
        """Stores the result of a run; returns whether to end its trial."""
        (method,) = run.settings.method
        found = results[method]
        scores.append(found[f"validation_{run.settings.monitor}"])
        summary = {"validation": scores[-1], **{name: found[name] for name in _KEPT_OF_RUNS}}
        is_hopeless = self.study.keep_run(
            trial.number, run.name or f"seed{run.settings.seed}", summary, float(np.mean(scores))
        )
        return is_hopeless and self.search.prunes

    def _end_run(self, task: EndedTask):
        trial = self.running.pop(task.name)
        if task.return_code:
            self._fail(trial, f"{_last_line(task.log)} (exit code {task.return_code})")
        else:
            self._resume(trial)

    def _fail(self, trial, reason):
        self.study.fail(trial.number, reason)
        self._report_end(trial.number)

    def _report_end(self, number):
        trials = self.study.trials()
        _write_trials(self.search, self.workdir, trials)
        self.ended += 1
        ended = [trial for trial in trials if trial.state != "running"]
        print(self._describe(trials[number], trials, len(ended)), flush=True)
        if len(ended) >= _MAX_FAILURES and all(trial.state == "failed" for trial in ended):
            raise ValueError(
                f"all of the first {len(ended)} trials have failed, the last one with: "
                f"{trials[number].reason}"
            )

    def _describe(self, trial, trials, num_ended):
        line = f"{num_ended} of {self.search.max_trials}: trial {trial.number} "
        if trial.state == "failed":
            line += f"FAILED: {trial.reason}; {trial.describe_values()}"
        else:
            mean, half_width, _ = trial.estimate()
            pruned = ", pruned," if trial.state == "pruned" else ""
            line += (
                f"{self.search.metric} {format_estimate(mean, half_width)}{pruned} with "
                f"{trial.describe_values()}"
            )
        if best := best_trials(trials):
            line += f"; best {format_value(best[0].estimate().mean)} (trial {best[0].number})"
        left = self.search.max_trials - num_ended
        minutes = (time.monotonic() - self.start) / 60 / self.ended * left
        return line + (f"; about {minutes:.0f} minutes left" if left else "")


def _last_line(log):
    if log is None:
        return "see above"
    lines = epath.Path(log).read_text(errors="replace").strip().splitlines()
    return f"{lines[-1].removeprefix('ccp_dml: ') if lines else 'no output'}, see {log}"


def _write_trials(search, workdir, trials):
    with atomic_write(workdir / "trials.csv") as unfinished:
        unfinished.write_text(trials_frame(trials, search.settings.monitor).to_csv(index=False))
    best = best_trials(trials)
    if not best:
        return
    mean, half_width, count = best[0].estimate()
    (first, *_) = runs = search.plan(workdir, best[0].values)
    text = (
        f"# Trial {best[0].number}, the best of {len(trials)}: {search.metric} "
        f"{format_estimate(mean, half_width)} ({count} run{'s' if count > 1 else ''}), by which it "
        "was chosen, so expect lower values elsewhere.\n"
    )
    text += flagfile(first.settings)
    if len(runs) > 1:
        folds = dict.fromkeys(run.settings.fold for run in runs)
        seeds = dict.fromkeys(run.settings.seed for run in runs)
        text += f"--folds={','.join(map(str, folds))}\n--seeds={','.join(map(str, seeds))}\n"
    with atomic_write(workdir / "best.flags") as unfinished:
        unfinished.write_text(text)


def _show(search, workdir, trials, importances):
    """Prints the best trials, draws the responses, and says where the files are."""
    _write_trials(search, workdir, trials)
    running = sum(trial.state == "running" for trial in trials)
    failed = sum(trial.state == "failed" for trial in trials)
    if running:
        print(
            f"trials still running elsewhere: {running}; when they have finished, run the same "
            "command again for their results"
        )
    if failed:
        print(f"{failed} of {len(trials)} trials failed; trials.csv says why")
    if not best_trials(trials):
        return
    print(f"\n{format_best(trials, search.metric)}")
    if importances:
        print(f"\n{format_importances(importances)}")
    responses = [respond(trials, parameter) for parameter in search.parameters]
    figure = draw_responses(responses, search.metric)
    with atomic_write(workdir / "responses.png") as path, path.open("wb") as file:
        figure.savefig(file, format="png", dpi=110)
    print(
        f"\nthe results are in {workdir}: trials.csv, responses.png and best.flags, the settings "
        "of the best trial, which --mode=train measures on the test classes"
    )
