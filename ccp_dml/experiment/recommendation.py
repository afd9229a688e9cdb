"""Recommendation of a preset and a method to start with for a data set."""

import numpy as np

from ccp_dml.data import Benchmark
from ccp_dml.experiment.paper_cells import DATASETS
from ccp_dml.experiment.settings import Settings

# With more classes than this, of fewer images than this, CCP fell behind the plain loss from
# scratch.
_MANY_CLASSES = 100
_FEW_IMAGES = 10


def recommend(benchmark: Benchmark, settings: Settings) -> str:
    """Recommends a preset and a method to start with, and says why.

    Args:
        benchmark: The data.
        settings: The name of the data set, and the initial weights of the network.

    Returns:
        A line of flags, and a line for each reason.
    """
    preset, why = _choose_preset(benchmark, settings)
    methods, why_methods = _choose_methods(benchmark, preset)
    reasons = [*why, *why_methods]
    return "\n".join(
        [f"recommended: --preset={preset} --method={methods}", *(f"- {each}" for each in reasons)]
    )


def _choose_preset(benchmark, settings):
    if settings.dataset in DATASETS:
        return "paper", [
            f"{DATASETS[settings.dataset]} is in the paper's tables, and these are its settings "
            "there: BN-Inception with ImageNet weights"
        ]
    if benchmark.train.image_shape[2] == 1:
        return "small_images", ["networks for photographs do not take images with one channel"]
    return "fine_tune", [
        "pretraining on photographs is worth more than any loss: it needs ImageNet weights, which "
        "Keras downloads, or a file of weights (--weights)",
        "without such weights, or for images that are nothing like photographs: "
        "--preset=small_images",
    ]


def _choose_methods(benchmark, preset):
    sizes = np.unique(benchmark.train.labels, return_counts=True)[1]
    median = int(np.median(sizes))
    held = f"{len(sizes):,} training classes, half of them with at most {median} images"
    if preset != "paper" and len(sizes) >= _MANY_CLASSES and median < _FEW_IMAGES:
        start = "from random weights " if preset == "small_images" else ""
        return "plain", [
            f"{held}: with many classes of few images CCP {start}can fall behind the plain loss, "
            "so start with that loss alone, and compare the two (--method=plain,ccp) once it works"
        ]
    return "plain,ccp", [f"{held}: enough for CCP to choose several proxies from"]
