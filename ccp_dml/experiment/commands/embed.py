"""`--mode=embed`: writes the embeddings of images to a file."""

from absl import flags

from ccp_dml.experiment.commands.arguments import networks_and_settings
from ccp_dml.experiment.embedding import embed_images, list_inputs


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Embeds the images of a data set with `--networks`.

    Raises:
        ValueError: If a flag or setting is wrong, or images cannot be read.
    """
    output = flag_values.output
    if not output:
        raise ValueError(
            "--output is missing: name a file for the embeddings, such as gallery.parquet"
        )
    embedder, settings = networks_and_settings(flag_values)
    count = embed_images(
        embedder,
        list_inputs(settings),
        output,
        flag_values.batch_size,
        settings.max_bad_images,
        settings.max_pixels,
    )
    print(f"{count} embeddings of size {embedder.embedding_size} are in {output}")
