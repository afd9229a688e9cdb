"""Groups of settings by the kind of training."""

from collections.abc import Mapping
from typing import Any

from ccp_dml.checks import check_one_of
from ccp_dml.experiment.paper_cells import DATASETS, cells

# From random weights. A warm-up on the batch loss keeps the embeddings of an untrained network from
# collapsing onto their proxies, and maximum pooling makes the start easier than average pooling.
# Rounds of at most 200 steps keep proxies near their classes while these still move;
# experiments/studies/from_scratch compares what helps. The paper's crops, of as little as 16 % of
# an image, leave little of small images.
_SMALL_IMAGES = {
    "backbone": "small_convnet",
    "weights": "none",
    "pooling": "max",
    "crop_area": (0.64, 1.0),
    "image_size": 64,
    "embedding_size": 64,
    "learning_rate": 1e-3,
    "warmup_steps": 200,
    "max_steps": 4_000,
    "steps_per_validation": 50,
    "patience": 20,
    "proxies_per_class": 8,
    "pool_size": 10,
    "batch_loss_weight": 1.0,
    "round_patience": 2,
    "max_round_validations": 4,
}
# From weights trained on photographs. Learning rate and frozen epoch are those of Proxy-Anchor (Kim
# et al., CVPR 2020), for Adam and batches of this kind. In the fine-tuning of
# experiments/studies/responses, CCP gains with this weight of the batch loss and rounds that end as
# soon as validation stops improving, but not with the paper's.
_FINE_TUNE = {
    "backbone": "resnet50",
    "weights": "imagenet",
    "image_size": 224,
    "embedding_size": 128,
    "classes_per_batch": 16,
    "learning_rate": 1e-4,
    "freeze_backbone_epochs": 1,
    "max_steps": 10_000,
    "steps_per_validation": 100,
    "patience": 15,
    "proxies_per_class": 4,
    "pool_size": 10,
    "batch_loss_weight": 1.0,
    "round_patience": 1,
}
# The settings of the paper's cells that do not depend on the table, the loss or the split.
_CELL_SETTINGS = ("dataset", "method", "loss", "loss_params", "validation", "cache")
PRESETS = ("none", "small_images", "fine_tune", "paper")


def preset_settings(preset: str, dataset: str) -> Mapping[str, Any]:
    """Returns the settings of a preset.

    Args:
        preset: `"small_images"`: a small network from random weights, for small or grey images, or
            if there are no weights to start from. `"fine_tune"`: a network of keras.applications
            from its ImageNet weights. `"paper"`: those of the CCP paper's tables, of the data set
            if it is one of theirs and otherwise of CUB. `"none"`: nothing.
        dataset: The data set.

    Returns:
        Values of `Settings` by name. Method, loss and data set are not among them.

    Raises:
        ValueError: If there is no such preset.

    Example:

    >>> preset_settings("small_images", "folder")["learning_rate"]
    0.001
    """
    check_one_of("preset", preset, PRESETS)
    if preset == "paper":
        cell = cells(dataset if dataset in DATASETS else "cub200_2011")["c2_ccp"]
        return {name: value for name, value in cell.settings.items() if name not in _CELL_SETTINGS}
    return {"none": {}, "small_images": _SMALL_IMAGES, "fine_tune": _FINE_TUNE}[preset]
