"""The flagfiles of the paper's experiments.

`python -m ccp_dml.experiment.paper` lists the flagfiles. With a name such as `cub200_2011/c2_ccp`
it prints that flagfile, and with `--output=experiments/paper` it writes all of them.
"""

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence

from etils import epath

from ccp_dml.checks import check_one_of
from ccp_dml.experiment.paper_cells import BACKBONES, DATASETS, cells, conventional_settings

_GENERATED = (
    "Made by ccp_dml/experiment/paper.py, not by hand. experiments/README.md says where the values "
    "are from."
)
# The order of the settings in a flagfile, under headings.
_LAYOUT = {
    "": ("dataset", "method", "loss", "loss_params", "loss_wrapper", "miner", "miner_params"),
    "The images.": (
        "image_size",
        "resize_size",
        "crop",
        "crop_area",
        "fit",
        "flip",
        "scaling",
        "cache",
    ),
    "The network.": ("backbone", "weights", "freeze_batch_norm", "pooling", "embedding_size"),
    "Validation.": (
        "validation",
        "num_folds",
        "monitor",
        "steps_per_validation",
        "patience",
        "max_steps",
        "clustering",
    ),
    "Batches and the optimizer.": (
        "classes_per_batch",
        "samples_per_class",
        "learning_rate",
        "learning_rate_multipliers",
        "beta_2",
        "weight_decay",
        "clip_norm",
        "clip_value",
        "freeze_backbone_epochs",
        "warmup_steps",
        "plateau_patience",
        "plateau_factor",
        "plateau_min_delta",
        "plateau_cooldown",
        "min_learning_rate",
    ),
    "CCP.": (
        "proxies_per_class",
        "pool_size",
        "proxy_loss_weight",
        "batch_loss_weight",
        "proximal_weight",
        "proximal_growth",
        "round_patience",
        "round_min_delta",
        "perturbation",
    ),
    "XBM.": ("memory_batches", "memory_start_step", "memory_includes_batch"),
    "DVML.": (
        "decoder_learning_rate",
        "variational_samples",
        "variational_hidden_units",
        "first_phase_steps",
        "first_phase_weights",
        "second_phase_weights",
    ),
}
# Origins of values that are not from the paper.
_REMARKS = {
    "crop": "By area as in the authors' code; the paper's crop is --crop=side.",
    "cache": "Our choice.",
    "max_steps": "Our choice: a bound that training is not meant to reach. It ends by patience.",
    "beta_2": "That of the authors' code; the paper says 0.99.",
    "plateau_patience": "0: the learning rate stays as it is.",
}
_CONVENTIONAL_REMARKS = {
    "backbone": "The authors' code names ResNet50V2: --backbone=ResNet50V2 after this file.",
    "plateau_patience": "The plateaus are those of the authors' code.",
}


def flagfile(dataset: str, cell: str) -> str:
    """Returns the flagfile of a cell, with every setting that the cell defines.

    Args:
        dataset: A key of `DATASETS`.
        cell: A key of `cells(dataset)`.

    Raises:
        ValueError: If there is no such data set or cell.
    """
    table = cells(dataset)
    check_one_of("cell", cell, table)
    title, _, settings, note = table[cell]
    return _render([f"{title} on {DATASETS[dataset]}.", note], settings, _REMARKS)


def conventional_flagfile(dataset: str, backbone: str) -> str:
    """Returns the flagfile of the conventional protocol, to be given after that of any cell.

    Args:
        dataset: A key of `DATASETS`.
        backbone: A key of `BACKBONES`.

    Raises:
        ValueError: If there is no such data set or backbone.
    """
    settings = conventional_settings(dataset, backbone)
    heading = [
        f"The conventional protocol with {BACKBONES[backbone]} on {DATASETS[dataset]}.",
        "To be given after the flagfile of a cell. Validation uses the test classes, as in older "
        "work, so results are optimistic.",
    ]
    return _render(heading, settings, _CONVENTIONAL_REMARKS)


def _render(heading, settings, remarks):
    lines = []
    for sentence in [*heading, _GENERATED]:
        lines += _comment(sentence)
    for title, names in _LAYOUT.items():
        given = [name for name in names if name in settings]
        if given:
            lines += ["", *_comment(title)]
        for name in given:
            lines += [*_comment(remarks.get(name, "")), _flag(name, settings[name])]
    return "\n".join(lines) + "\n"


def _comment(text):
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")


def _flag(name, value):
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, Mapping):
        value = ",".join(f"{key}={number}" for key, number in value.items())
    elif isinstance(value, tuple):
        value = ",".join(map(str, value))
    return f"--{name}={value}"


def flagfiles() -> Mapping[str, str]:
    """Returns all flagfiles by name, such as `"cub200_2011/c2_ccp"`."""
    texts = {}
    for dataset in DATASETS:
        for cell in cells(dataset):
            texts[f"{dataset}/{cell}"] = flagfile(dataset, cell)
        for backbone in BACKBONES:
            name = f"{dataset}/conventional_{backbone}"
            texts[name] = conventional_flagfile(dataset, backbone)
    return texts


def write_flagfiles(folder: epath.PathLike):
    """Writes all flagfiles, `<data set>/<name>.flags`, and replaces existing ones.

    Args:
        folder: Target folder, created if it does not exist.
    """
    for name, text in flagfiles().items():
        path = epath.Path(folder) / f"{name}.flags"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main(arguments: Sequence[str] | None = None):
    """Prints or writes flagfiles.

    Args:
        arguments: Arguments of the command line. Defaults to `None`: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ccp_dml.experiment.paper", description="Flagfiles of the paper's tables."
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "name",
        nargs="?",
        help="the flagfile to print, such as cub200_2011/c2_ccp; without it, their names",
    )
    choice.add_argument("--output", help="folder to write all flagfiles to")
    options = parser.parse_args(arguments)
    if options.output:
        try:
            write_flagfiles(options.output)
        except OSError as error:
            parser.exit(2, f"ccp_dml: {options.output} cannot be written to: {error}\n")
        return
    texts = flagfiles()
    if options.name is None:
        print("\n".join(texts))
    elif options.name in texts:
        sys.stdout.write(texts[options.name])
    else:
        folder = f"{options.name.partition('/')[0]}/"
        names = [name for name in texts if name.startswith(folder)] or texts
        choices = ", ".join(names)
        parser.exit(2, f"ccp_dml: there is no flagfile {options.name!r}; there are {choices}\n")


if __name__ == "__main__":
    main()
