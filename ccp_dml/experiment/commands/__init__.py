"""The commands of the command line, one for each `--mode`."""

from collections.abc import Callable

from absl import flags

from ccp_dml.experiment.commands import (
    describe,
    embed,
    evaluate,
    export,
    inspect,
    plan,
    report,
    search,
    table,
    train,
    tune,
    validate,
)

COMMANDS: dict[str, Callable[[flags.FlagValues, str | None], None]] = {
    "train": train.run,
    "validate": validate.run,
    "tune": tune.run,
    "plan": plan.run,
    "table": table.run,
    "report": report.run,
    "describe": describe.run,
    "evaluate": evaluate.run,
    "embed": embed.run,
    "search": search.run,
    "inspect": inspect.run,
    "export": export.run,
}
"""Functions of the parsed flags and the absolute path of `--workdir`, if it is given, by mode."""

__all__ = ["COMMANDS"]
