"""Results that the paper reports, for runs that can be compared with them."""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from ccp_dml import losses, miners
from ccp_dml.experiment.paper_cells import DATASETS, cells
from ccp_dml.experiment.settings import Settings
from ccp_dml.models.backbones.pretrained import IMAGENET_FILES

_METRICS = ("precision_at_1", "r_precision", "map_at_r")
# Settings that a run must share with a cell to be comparable; the others are free.
COMPARED = (
    "dataset",
    "loss",
    "loss_wrapper",
    "miner",
    "backbone",
    "weights",
    "embedding_size",
    "pooling",
    "validation",
    "num_folds",
    "label_noise",
)


class PublishedCell(NamedTuple):
    """A cell of the paper's tables.

    Attributes:
        title: Its title there, such as `"C2-CCP-L"`.
        metrics: `precision_at_1`, `r_precision` and `map_at_r`, between 0 and 1, by the size of
            the embeddings: 128, the mean of the four single networks, and 512, their concatenation.
        steps: Steps to converge, `None` if they are not reported.
    """

    title: str
    metrics: Mapping[int, Mapping[str, float]]
    steps: int | None


def find_published(settings: Settings, method: str) -> PublishedCell | None:
    """Finds the published cell of a method of a run; `None` if there is none.

    Args:
        settings: Of the run.
        method: One of its methods.

    Example:

    >>> find_published(Settings(**cells("sop")["c1"].settings), "plain").metrics[128]["map_at_r"]
    0.3654
    """
    name = cell_name(settings, method)
    title = None if name is None else cells(settings.dataset)[name].published_as
    if title is None:
        return None
    results = _published_results()
    metrics = {
        # Percent with two decimals.
        row["embedding_size"]: {name: round(row[name] / 100, 4) for name in _METRICS}
        for row in results["retrieval"]
        if (row["dataset"], row["method"]) == (settings.dataset, title)
    }
    # The paper's table of steps omits the suffixes.
    shorter = title.removesuffix("-L").removesuffix("-S")
    thousands = results["thousand_steps_to_converge"].get(settings.dataset, {}).get(shorter)
    return PublishedCell(title, metrics, None if thousands is None else 1000 * thousands)


def cell_name(settings: Settings, method: str) -> str | None:
    """Finds the cell that a method of a run can be compared with; `None` if there is none.

    Data set, loss, miner, network, protocol and, for `xbm`, the size of the memory must be those of
    the cell; learning rates, patience and everything else may differ.

    Args:
        settings: Of the run.
        method: One of its methods.

    Returns:
        A key of `cells(settings.dataset)`.

    Example:

    >>> cell_name(Settings(**cells("sop")["triplet"].settings), "ccp")
    'triplet_ccp'
    """
    if settings.dataset not in DATASETS or settings.loss not in losses.LOSSES:
        return None
    compared = _compared_values(settings, method)
    for name, cell in cells(settings.dataset).items():
        cell_settings = Settings(**cell.settings)
        if (
            cell_settings.method == (method,)
            and _compared_values(cell_settings, method) == compared
        ):
            return name
    return None


def _compared_values(settings, method):
    values = {name: getattr(settings, name) for name in COMPARED}
    # Parameters with default values count too.
    loss = losses.get(settings.loss, **settings.loss_params)
    names = losses.parameters(settings.loss)
    values["loss_params"] = {name: getattr(loss, name) for name in names}
    if settings.miner != "none":
        values["miner_params"] = miners.get(settings.miner, **settings.miner_params).get_config()
    # The file of the weights may be named instead.
    if pathlib.Path(settings.weights).name in IMAGENET_FILES:
        values["weights"] = "imagenet"
    if method == "xbm":
        values["memory_batches"] = settings.memory_batches
        values["memory_includes_batch"] = settings.memory_includes_batch
    return values


@functools.cache
def _published_results():
    path = pathlib.Path(__file__).with_name("published_results.json")
    return json.loads(path.read_text(encoding="utf-8"))
