"""Reading of flags that several commands share."""

import dataclasses

from absl import flags

from ccp_dml.experiment.embedding import load_embedder
from ccp_dml.experiment.flags import settings_from
from ccp_dml.experiment.protocol import PlannedRun, plan_runs
from ccp_dml.experiment.settings import Settings
from ccp_dml.inference import ConcatenatedEmbedder


def require_workdir(workdir: str | None, example: str) -> str:
    """Returns the folder for the results.

    Args:
        workdir: The value of `--workdir`.
        example: A folder that the message gives as an example.

    Raises:
        ValueError: If it is not given.
    """
    if not workdir:
        raise ValueError(
            f"--workdir is missing: name a folder for the results, such as --workdir={example}"
        )
    return workdir


def require_runs(flag_values: flags.FlagValues) -> list[str]:
    """Returns the paths of `--runs`.

    Raises:
        ValueError: If there are none.
    """
    if not flag_values.runs:
        raise ValueError(
            "--runs is missing: name work folders of training, such as --runs=/runs/c2_ccp"
        )
    return flag_values.runs


def whole_numbers(flag_values: flags.FlagValues, name: str) -> list[int]:
    """Returns the numbers of a flag that is a list.

    Raises:
        ValueError: If they are not whole numbers.
    """
    given = flag_values[name].value or []
    try:
        return [int(number) for number in given]
    except ValueError as error:
        raise ValueError(
            f"{name} must be whole numbers such as 1,2; got {','.join(given)}"
        ) from error


def runs_of_protocol(
    flag_values: flags.FlagValues, settings: Settings, workdir: str
) -> list[PlannedRun]:
    """Returns the run of each of `--folds` and `--seeds`."""
    folds = whole_numbers(flag_values, "folds") or [settings.fold]
    seeds = whole_numbers(flag_values, "seeds") or [settings.seed]
    return plan_runs(settings, folds, seeds, workdir)


def given_settings(flag_values: flags.FlagValues) -> list[str]:
    """Returns the names of the settings that are given as flags."""
    names = (field.name for field in dataclasses.fields(Settings))
    return [name for name in names if flag_values[name].present]


def networks_and_settings(
    flag_values: flags.FlagValues,
) -> tuple[ConcatenatedEmbedder, Settings]:
    """Loads the networks of `--networks`, for images in files unless a data set is given.

    Raises:
        ValueError: If there are none, or they contradict the settings.
    """
    if not flag_values.networks:
        raise ValueError(
            "--networks is missing: name a trained network, such as --networks=model.keras; "
            "--mode=train with --dataset=folder and the same --data_dir trains one"
        )
    settings = settings_from(flag_values)
    if not flag_values["dataset"].present:
        settings = dataclasses.replace(settings, dataset="folder")
    given = given_settings(flag_values)
    return load_embedder(flag_values.networks, settings, given), settings
