"""Recommendation of a preset and a method to start with for a data set."""

import numpy as np

from ccp_dml.data import Benchmark
from ccp_dml.experiment.paper_cells import DATASETS
from ccp_dml.experiment.settings import Settings

# From about as many classes on, renewing the proxies paid in experiments/studies/growth.
_MANY_CLASSES = 100


def recommend(benchmark: Benchmark, settings: Settings) -> str:
    """Recommends a preset and a method to start with, and says why.

    Args:
        benchmark: The data.
        settings: The name of the data set, and the initial weights of the network.

    Returns:
        A line of flags, and a line for each reason.
    """
    preset, why = _choose_preset(benchmark, settings)
    methods, why_methods = _choose_methods(benchmark)
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


def _choose_methods(benchmark):
    sizes = np.unique(benchmark.train.labels, return_counts=True)[1]
    median = int(np.median(sizes))
    classes = f"{len(sizes):,} training classes, half of them with at most {median} images"
    if median < 2:
        return "plain", [f"{classes}: too few for CCP to choose several proxies of a class from"]
    if len(sizes) < _MANY_CLASSES:
        gain = f"CCP gained little over the plain loss with fewer than {_MANY_CLASSES}"
    else:
        gain = "the more classes, the more CCP gained over the plain loss, in small batches"
    return "plain,ccp", [f"{classes}: on rendered letters, {gain}; compare the two"]
