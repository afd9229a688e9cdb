"""Optuna's part in a search: storing the trials, and choosing the values of the next one."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ccp_dml.experiment.search_space import SearchParameter, grid_points
from ccp_dml.experiment.trials import Trial

SAMPLERS = ("tpe", "random", "grid")
"""The samplers that choose the values of a trial."""

# Number of trials that end before the median pruner compares any with them.
_UNPRUNED_TRIALS = 4
_PLACE, _RUNS, _REASON = "place", "runs", "reason"


class OptunaStudy:
    """The trials of a search in a database, which maximises their mean validation.

    The values of a trial depend on the seed, its number and, with `tpe`, the trials that ended
    before it, but not on interruptions of the search.

    Args:
        url: URL of the database, in the form of SQLAlchemy, such as `sqlite:////tmp/tune.db`.
        name: Name of the study in it, created if it does not exist.
        space: The parameters to search.
        sampler: One of `SAMPLERS`. Defaults to `"tpe"`, the tree-structured Parzen estimator.
        seed: Seed of the sampler. Defaults to 0.
        place: What distinguishes trials started by this process from those of others. Defaults to
            `None`: there are no others.

    Raises:
        ValueError: If Optuna is not installed, or the database cannot be opened.
    """

    def __init__(
        self,
        url: str,
        name: str,
        space: Sequence[SearchParameter],
        sampler: str = "tpe",
        seed: int = 0,
        place: str | None = None,
    ):
        optuna = import_optuna()
        self._space, self._place = space, place
        self._states = optuna.trial.TrialState
        self._study, self._storage = _open(url, name, _make_sampler(sampler, seed, space))
        self._trials = {}

    def start(self, most: int) -> Trial | None:
        """Starts a trial, unless there are already `most`, including those of others."""
        if len(self._study.get_trials(deepcopy=False)) >= most:
            return None
        trial = self._study.ask()
        if self._place is not None:
            trial.set_user_attr(_PLACE, self._place)
        return self._suggest(trial)

    def list_unfinished(self) -> list[Trial]:
        """Returns the trials that were started in this place and have not ended, to be resumed."""
        import optuna

        running = self._study.get_trials(deepcopy=False, states=[self._states.RUNNING])
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        ours = []
        for trial in running:
            if trial.user_attrs.get(_PLACE) == self._place:
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(
                    study_id, trial.number
                )
                ours.append(self._suggest(optuna.trial.Trial(self._study, trial_id)))
        return ours

    def _suggest(self, trial):
        """Samples the values that a trial does not have yet."""
        for parameter in self._space:
            _suggest(trial, parameter)
        self._trials[trial.number] = trial
        return _record(trial, "running")

    def keep_run(self, number: int, run: str, summary: Mapping[str, Any], value: float) -> bool:
        """Stores the result of a run of a trial.

        Args:
            number: Number of the trial.
            run: The name of the run.
            summary: The result to store.
            value: The mean over the trial's runs up to this one.

        Returns:
            Whether the mean is below the median of the other trials after the same number of runs;
            always false for a run that was already stored.
        """
        trial = self._trials[number]
        runs = trial.user_attrs.get(_RUNS, {})
        if run in runs:
            return False
        runs = {**runs, run: dict(summary)}
        trial.set_user_attr(_RUNS, runs)
        trial.report(value, step=len(runs))
        return trial.should_prune()

    def finish(self, number: int, value: float):
        """Ends a trial with the mean over all of its runs."""
        self._study.tell(self._trials.pop(number), value)

    def prune(self, number: int):
        """Ends a trial before all of its runs."""
        self._study.tell(self._trials.pop(number), state=self._states.PRUNED)

    def fail(self, number: int, reason: str):
        """Ends a trial with a failed run."""
        trial = self._trials.pop(number)
        trial.set_user_attr(_REASON, reason)
        self._study.tell(trial, state=self._states.FAIL)

    def trials(self) -> list[Trial]:
        """Returns all trials, including those of others, in the order of their numbers."""
        names = {
            self._states.COMPLETE: "finished",
            self._states.PRUNED: "pruned",
            self._states.FAIL: "failed",
        }
        return [
            _record(trial, names.get(trial.state, "running"))
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def rank_parameters(self) -> dict[str, float]:
        """Estimates how much each parameter determines whether a trial is among the best.

        Returns:
            The importances, with the sum 1, by PED-ANOVA (Watanabe et al., IJCAI 2023), largest
            first; empty if there are too few trials or parameters to compare.
        """
        import optuna

        finished = self._study.get_trials(deepcopy=False, states=[self._states.COMPLETE])
        if len(self._space) < 2 or len({trial.value for trial in finished}) < 2:
            return {}
        return optuna.importance.get_param_importances(
            self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )


def _record(trial, state):
    attributes = trial.user_attrs
    return Trial(
        trial.number,
        state,
        dict(trial.params),
        attributes.get(_RUNS, {}),
        attributes.get(_REASON, ""),
    )


def _suggest(trial, parameter):
    name = parameter.name
    if parameter.choices:
        trial.suggest_categorical(name, parameter.choices)
    else:
        suggest = trial.suggest_int if parameter.is_integer else trial.suggest_float
        suggest(name, *parameter.bounds, log=parameter.is_logarithmic)


def import_optuna():
    """Imports Optuna, and limits its log to warnings.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ValueError('mode tune requires Optuna: pip install "ccp_dml[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open(url, name, sampler):
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = optuna.storages.RDBStorage(url)
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS),
            direction="maximize",
            load_if_exists=True,
        )
    # A missing driver, an invalid address, or a database of another version.
    except (ImportError, ValueError, RuntimeError, SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValueError(f"tune_storage {hide_password(url)} cannot be opened: {reason}") from error
    return study, storage


def hide_password(url: str) -> str:
    """Returns the URL of a database for messages, without its password.

    Example:

    >>> hide_password("mysql://me:secret@host/trials")
    'mysql://me:***@host/trials'
    """
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}{at}{place}"


def _make_sampler(name, seed, space):
    import optuna

    def make(*parts):
        derived = _derive_seed(seed, *parts)
        if name == "random":
            return optuna.samplers.RandomSampler(derived)
        # Running trials count as bad ones, so that no two try the same values.
        return optuna.samplers.TPESampler(seed=derived, multivariate=False, constant_liar=True)

    class SamplerByNumber(optuna.samplers.BaseSampler):
        """Draws each value with its own random numbers."""

        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, param_name, param_distribution):
            if name == "grid":
                return points[trial.number][param_name]
            sampler = make(trial.number, param_name)
            return sampler.sample_independent(study, trial, param_name, param_distribution)

    points = grid_points(space) if name == "grid" else []
    return SamplerByNumber()


def _derive_seed(*parts):
    """Derives a number from the parts, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")
