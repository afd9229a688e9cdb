"""Small cases of every loss and every method, as experiments make them from settings."""

from collections.abc import Sequence

import keras
import pytest

from ccp_dml.experiment.methods import make_model
from ccp_dml.experiment.settings import Settings
from ccp_dml.losses import LOSSES
from ccp_dml.models import EmbeddingModel

# Settings by the name of a loss. All pairs contribute, so that its mean is always over the same
# terms, and scales and temperatures are such that gradients do not vanish in float32.
OF_LOSSES = {name: {"loss": name} for name in LOSSES}
for name, params in {
    "contrastive": {"negative_margin": 2.0},
    "soft_triple": {"proxies_per_class": 2},
    "sub_center_arcface": {"proxies_per_class": 2},
    "circle": {"gamma": 8.0},
    "ranked_list": {"alpha": 2.0, "margin": 2.0, "temperature": 0.0},
    "fast_ap": {"num_bins": 20},
    "smooth_ap": {"temperature": 0.2},
    "recall_at_k_surrogate": {"temperature": 10.0, "rank_temperature": 0.4},
}.items():
    OF_LOSSES[name]["loss_params"] = params
# Losses that compare samples with proxies only.
NEEDING_PROXIES = ("soft_triple", "sub_center_arcface")

# Settings by the name of a loss wrapper or a miner.
AROUND_LOSSES = {
    "multi_level_distance": {"loss": "triplet", "loss_wrapper": "multi_level_distance"},
    "proxy_synthesis": {"loss": "normalized_softmax", "loss_wrapper": "proxy_synthesis"},
    "virtual_softmax": {"loss": "normalized_softmax", "loss_wrapper": "virtual_softmax"},
    "hard": {"loss": "triplet", "miner": "hard"},
    "hardest_pairs": {"loss": "triplet", "miner": "hardest_pairs"},
    "easy": {"loss": "triplet", "loss_params": {"margin": 0.5}, "miner": "easy"},
    # With a softmax loss, as in the miner's paper.
    "easy_positive": {"loss": "n_pair", "miner": "easy_positive"},
    "multi_similarity_miner": {"loss": "multi_similarity", "miner": "multi_similarity"},
    "semi_hard": {"loss": "triplet", "miner": "semi_hard"},
    "semi_hard_pairs": {"loss": "multi_similarity", "miner": "semi_hard_pairs"},
    "distance_weighted": {"loss": "margin", "miner": "distance_weighted"},
}
CASES = {**OF_LOSSES, **AROUND_LOSSES}


def slow_except(quick: Sequence, cases: Sequence) -> list:
    """Values of a parameter; all but the quick ones are marked as slow."""
    missing = [case for case in quick if case not in cases]
    if missing:
        raise ValueError(f"quick must be among cases; got {missing}")
    return [
        case
        if case in quick
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


def settings_of(case, **changes):
    """Settings of a case, kept small: batches of 5 × 3 images of 8 × 8 pixels."""
    small = {
        "embedding_size": 8,
        "classes_per_batch": 5,
        "samples_per_class": 3,
        "learning_rate": 1e-2,
        "proxies_per_class": 2,
        "pool_size": 4,
        "memory_batches": 3,
        "memory_start_step": 0,
        "variational_samples": 2,
        "variational_hidden_units": 16,
        "first_phase_steps": 0,
        "second_phase_weights": (0.1, 0.1, 1.0, 1.0),
    }
    return Settings(**{**small, **CASES[case], **changes})


def small_model(method, settings, num_classes=5):
    """The compiled model of a method over one convolution; its initial weights are always equal."""
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, strides=2, activation="relu")]
    )
    embedding_model = EmbeddingModel(backbone, settings.embedding_size)
    return make_model(method, settings, embedding_model, num_classes)
