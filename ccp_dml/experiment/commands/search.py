"""`--mode=search`: finds images in a file of embeddings."""

import json
import os

from absl import flags

from ccp_dml.experiment.commands.arguments import networks_and_settings
from ccp_dml.experiment.commands.pictures import save_picture
from ccp_dml.experiment.image_search import as_records, draw_queries, format_queries, search_images


def run(flag_values: flags.FlagValues, workdir: str | None):
    """Prints and draws the neighbours of `--query` in `--gallery`.

    Raises:
        ValueError: If a flag or setting is wrong, or the gallery belongs to other networks.
    """
    for name, example in (("gallery", "gallery.parquet"), ("query", "image.jpg")):
        if not flag_values[name].value:
            raise ValueError(f"--{name} is missing: name a file, such as --{name}={example}")
    embedder, settings = networks_and_settings(flag_values)
    queries = search_images(
        embedder,
        flag_values.gallery,
        flag_values.query,
        flag_values.k,
        flag_values.index,
        flag_values.exclude_self,
        flag_values.batch_size,
        settings.max_pixels,
    )
    picture = save_picture(draw_queries(queries), workdir, "search.png")
    if flag_values.json:
        print(json.dumps({"picture": os.path.abspath(picture), "queries": as_records(queries)}))
    else:
        print(f"{format_queries(queries)}\n\nthe images are drawn in {picture}")
