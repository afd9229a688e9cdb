"""`--mode=export`: writes networks as a model that needs neither Keras nor this package."""

from absl import flags

from ccp_dml.experiment.commands.arguments import networks_and_settings
from ccp_dml.experiment.embedding import list_inputs
from ccp_dml.inference.export import INPUTS, export

# Number of images of --data_dir for comparing an exported model with Keras.
_COMPARED_IMAGES = 16


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Exports `--networks` and compares the model with Keras.

    Raises:
        ValueError: If a flag or setting is wrong, or the model computes something else.
    """
    output = flag_values.output or workdir
    if not output:
        raise ValueError(
            "--output is missing: name a folder for the model, such as --output=exported"
        )
    embedder, settings = networks_and_settings(flag_values)
    images = list_inputs(settings).read_some(_COMPARED_IMAGES) if settings.data_dir else []
    model = export(embedder.embedders, output, flag_values.format, images, flag_values.quantization)
    print(
        f"{model.path}: the largest difference from Keras is {model.largest_difference:.2g} over "
        f"the embeddings of {model.num_images} images"
    )
    print(
        f"it takes {INPUTS[flag_values.format]}; try it with python {model.example} one.jpg "
        "another.jpg"
    )
