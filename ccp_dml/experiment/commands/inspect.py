"""`--mode=inspect`: lists near-duplicates and suspicious labels of a data set."""

from absl import flags

from ccp_dml.experiment.commands.arguments import networks_and_settings
from ccp_dml.experiment.embedding import list_inputs
from ccp_dml.experiment.inspection import inspect_images


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Inspects the images of a data set with `--networks`, and prints a summary.

    Raises:
        ValueError: If a flag or setting is wrong, or images cannot be read.
    """
    folder = flag_values.output or workdir
    if not folder:
        raise ValueError(
            "--output is missing: name a folder for the results, such as --output=inspection"
        )
    embedder, settings = networks_and_settings(flag_values)
    inspection = inspect_images(
        embedder,
        list_inputs(settings),
        folder,
        flag_values.k,
        flag_values.duplicate_distance,
        flag_values.batch_size,
        settings.max_bad_images,
        settings.max_pixels,
    )
    print(f"{inspection.summary}\n\nthe results are in {folder}: {', '.join(inspection.files)}")
