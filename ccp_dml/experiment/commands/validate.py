"""`--mode=validate`: trains one run without measuring the test classes."""

from absl import flags

from ccp_dml.distribution.strategy_names import check_strategy
from ccp_dml.experiment.commands.arguments import require_workdir, runs_of_protocol
from ccp_dml.experiment.flags import settings_from
from ccp_dml.experiment.interruption import end_with_parent
from ccp_dml.experiment.training import validate


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Trains like a trial of a search, and prints the best validation of each method.

    Raises:
        ValueError: If a flag or setting is wrong.
    """
    workdir = require_workdir(workdir, "/tmp/letters")
    settings = settings_from(flag_values)
    check_strategy(settings.strategy, settings.model_devices)
    planned, *others = runs_of_protocol(flag_values, settings, workdir)
    if others:
        raise ValueError(
            "mode validate trains a single run: give --fold and --seed in place of --folds and "
            "--seeds, or use --mode=tune"
        )
    end_with_parent()
    results = validate(planned.settings, planned.folder, flag_values.checkpoint_minutes)
    for method in settings.method:
        value = results[method][f"validation_{settings.monitor}"]
        print(f"{method}: validation {settings.monitor} {value:.4f}")
