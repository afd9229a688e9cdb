"""`--mode=tune`: searches for settings by validation."""

from absl import flags

from ccp_dml.distribution.strategy_names import check_strategy
from ccp_dml.experiment.commands.arguments import require_workdir, whole_numbers
from ccp_dml.experiment.flags import format_notes, settings_from
from ccp_dml.experiment.tuning import Search, tune


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Runs the trials that are missing, and prints the best.

    Raises:
        ValueError: If a flag or setting is wrong.
    """
    workdir = require_workdir(workdir, "/tmp/tune")
    search = Search(
        settings_from(flag_values),
        flag_values.tune_space,
        flag_values.tune_trials,
        flag_values.tune_sampler,
        whole_numbers(flag_values, "folds"),
        whole_numbers(flag_values, "seeds"),
        flag_values.tune_pruning,
    )
    for note in format_notes(flag_values):
        print(note, flush=True)
    settings = search.settings
    check_strategy(settings.strategy, settings.model_devices)
    if settings.strategy == "multi_worker":
        raise ValueError(
            "several workers train one run at a time, not trials: use --strategy=mirrored, and "
            "--tune_storage to spread the trials over machines"
        )
    arguments = [f"--checkpoint_minutes={flag_values.checkpoint_minutes}"]
    tune(search, workdir, flag_values.tune_storage, flag_values.processes, arguments)
