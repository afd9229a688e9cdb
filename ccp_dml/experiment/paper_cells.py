"""The cells of the paper's tables: which settings each of them defines."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ccp_dml.checks import check_one_of

# Names in flags, and in the paper.
DATASETS = {
    "cub200_2011": "CUB-200-2011",
    "cars196": "Cars196",
    "inshop": "In-Shop",
    "sop": "SOP",
}
BACKBONES = {"bn_inception": "BN-Inception", "resnet50": "ResNet-50"}

# The MLRC protocol. Default values are included too, because flagfiles are a record.
_MLRC = {
    "image_size": 227,
    "resize_size": 256,
    "crop": "area",
    "crop_area": (0.16, 1.0),
    "fit": "crop",
    "flip": True,
    "scaling": "auto",
    "backbone": "bn_inception",
    "weights": "imagenet",
    "freeze_batch_norm": True,
    "embedding_size": 128,
    "pooling": "average",
    "validation": "classes",
    "num_folds": 4,
    "monitor": "map_at_r",
    "patience": 60,
    "classes_per_batch": 8,
    "samples_per_class": 4,
    "learning_rate": 1e-5,
    "beta_2": 0.999,
    "weight_decay": 1e-4,
    "clip_norm": 10,
    "clip_value": 10,
    "plateau_patience": 0,
    "freeze_backbone_epochs": 0,
    "warmup_steps": 0,
    "loss_wrapper": "none",
    "miner": "none",
    "proxy_loss_weight": 1,
    "batch_loss_weight": 0.1,
    "proximal_weight": 2e-4,
    "proximal_growth": 1,
    "round_patience": 3,
    "round_min_delta": 1e-5,
    "perturbation": 0,
    "memory_start_step": 1000,
    "memory_includes_batch": True,
}

_SMALL_SET = {
    "proxies_per_class": 8,
    "pool_size": 12,
    "steps_per_validation": 25,
    "max_steps": 100_000,
    "cache": "memory",
}
_LARGE_SET = {
    "proxies_per_class": 4,
    "pool_size": 7,
    "steps_per_validation": 250,
    "max_steps": 400_000,
    "cache": "none",
}
_DATASET_SETTINGS = {
    "cub200_2011": _SMALL_SET,
    "cars196": _SMALL_SET,
    "inshop": _LARGE_SET,
    "sop": _LARGE_SET,
}

# Batches in the smaller and the larger memory of XBM.
_MEMORY_BATCHES = {
    "cub200_2011": (3, 25),
    "cars196": (3, 25),
    "inshop": (100, 400),
    "sop": (400, 1400),
}


class _Loss(NamedTuple):
    """A loss of the tables: its title there, its name here, and its parameters by data set."""

    title: str
    name: str
    params: Mapping[str, Mapping[str, float]]

    def settings(self, dataset):
        return {"loss": self.name, "loss_params": self.params[dataset]}


def _on_all(**params):
    return dict.fromkeys(DATASETS, params)


_PAIRWISE_LOSSES = {
    "c1": _Loss("C1", "cosine_contrastive", _on_all(margin=0.5)),
    "c2": _Loss(
        "C2",
        "contrastive",
        {
            "cub200_2011": {"positive_margin": 0, "negative_margin": 0.3841},
            "cars196": {"positive_margin": 0.2652, "negative_margin": 0.5409},
            "inshop": {"positive_margin": 0.2858, "negative_margin": 0.5130},
            "sop": {"positive_margin": 0.2858, "negative_margin": 0.5130},
        },
    ),
    "multi_similarity": _Loss(
        "MS",
        "multi_similarity",
        {
            "cub200_2011": {"alpha": 2, "beta": 40, "base": 0.5},
            "cars196": {"alpha": 14.35, "beta": 75.83, "base": 0.66},
            "inshop": {"alpha": 8.49, "beta": 57.38, "base": 0.41},
            "sop": {"alpha": 2, "beta": 40, "base": 0.5},
        },
    ),
    "triplet": _Loss(
        "Triplet",
        "triplet",
        {
            "cub200_2011": {"margin": 0.0961},
            "cars196": {"margin": 0.1190},
            "inshop": {"margin": 0.0451},
            "sop": {"margin": 0.0451},
        },
    ),
}

# Losses against proxies that start at random. These two name their own batch and warm-up.
_PROXY_LOSSES = {
    "proxy_anchor": _Loss("ProxyAnchor", "proxy_anchor", _on_all(margin=0.1, alpha=32)),
    "proxy_nca": _Loss("ProxyNCA++", "proxy_nca", _on_all(temperature=0.1)),
}
_PROXY_LOSS_SETTINGS = {
    "method": ("plain",),
    "classes_per_batch": 32,
    "samples_per_class": 1,
    "learning_rate_multipliers": {"proxies": 100},
    "freeze_backbone_epochs": 1,
}
_SOFT_TRIPLE = _Loss(
    "SoftTriple",
    "soft_triple",
    {
        "cub200_2011": {"scale": 20, "gamma": 0.1, "tau": 0.2, "margin": 0.01},
        "cars196": {"scale": 17.69, "gamma": 19.18, "tau": 0.0669, "margin": 0.3588},
        "inshop": {"scale": 20, "gamma": 0.1, "tau": 0.2, "margin": 0.01},
        "sop": {"scale": 100, "gamma": 47.9, "tau": 0.2, "margin": 0.3145},
    },
)
_SOFT_TRIPLE_PROXIES = 10
_SOFT_TRIPLE_TITLES = {
    "cub200_2011": "SoftTriple-L",
    "cars196": "SoftTriple-L",
    "inshop": "SoftTriple-S",
    "sop": "SoftTriple-S",
}
_SOFT_TRIPLE_NOTE = (
    "The batch of 32 classes x 1 sample and the warm-up of one epoch are our choice (those of "
    "proxy anchor): the sources give only the parameters of the loss, the 10 proxies of a class "
    "and their learning rate."
)

# Deep variational metric learning (Lin et al., ECCV 2018), on the data sets of its paper.
_DVML_DATASETS = ("cub200_2011", "cars196", "sop")
_DVML = {
    "method": ("dvml",),
    "learning_rate": 7e-5,
    "decoder_learning_rate": 1e-2,
    "variational_samples": 20,
    "variational_hidden_units": 512,
    "first_phase_steps": 1000,
    "first_phase_weights": (1, 1, 0.1, 1),
    "second_phase_weights": (0.8, 1, 0.2, 0.8),
    "clustering": True,
}
_DVML_NOTE = (
    "The learning rates, the weights and the 20 samples come from public re-implementations of "
    "DVML, not from its paper. The steps of the first phase are our choice, as is the protocol, "
    "which is the same as for the other cells."
)

# What the conventional protocol changes.
_CONVENTIONAL = {
    "validation": "test",
    "monitor": "precision_at_1",
    "embedding_size": 512,
    "pooling": "sum",
    "patience": 15,
    "plateau_factor": 0.5,
    "plateau_min_delta": 1e-3,
    "plateau_cooldown": 2,
    "min_learning_rate": 1e-6,
}
_CONVENTIONAL_DATASETS = {
    "cub200_2011": {"learning_rate": 1e-5, "plateau_patience": 4},
    "cars196": {"learning_rate": 1e-5, "plateau_patience": 4},
    "inshop": {"learning_rate": 1e-4, "plateau_patience": 3},
    "sop": {"learning_rate": 1e-4, "plateau_patience": 3},
}
_CONVENTIONAL_BACKBONES = {
    "bn_inception": {"classes_per_batch": 32, "samples_per_class": 4},
    "resnet50": {
        "backbone": "resnet50",
        "classes_per_batch": 28,
        "samples_per_class": 4,
        "weight_decay": 4e-4,
    },
}
_CONVENTIONAL_PATIENCE = {("inshop", "resnet50"): 10, ("sop", "resnet50"): 10}


class Cell(NamedTuple):
    """One cell of the tables.

    Attributes:
        title: Its title.
        published_as: Its name in the published tables, `None` if it is not in them.
        settings: All settings that it defines, by name: arguments of `Settings`.
        note: Remarks on values that are not the paper's.
    """

    title: str
    published_as: str | None
    settings: Mapping[str, Any]
    note: str = ""


def cells(dataset: str) -> Mapping[str, Cell]:
    """Returns the cells of a data set by the MLRC protocol, by the names of their flagfiles.

    Args:
        dataset: A key of `DATASETS`.

    Raises:
        ValueError: If there is no such data set.

    Example:

    >>> cells("cub200_2011")["c2_ccp"].settings["loss_params"]
    {'positive_margin': 0, 'negative_margin': 0.3841}
    """
    check_one_of("dataset", dataset, DATASETS)
    base = {"dataset": dataset, **_MLRC, **_DATASET_SETTINGS[dataset]}
    table = {}
    for name, loss in _PAIRWISE_LOSSES.items():
        settings = {**base, **loss.settings(dataset)}
        with_ccp = f"{loss.title}-CCP-L"
        table[name] = Cell(loss.title, loss.title, {**settings, "method": ("plain",)})
        table[f"{name}_ccp"] = Cell(with_ccp, with_ccp, {**settings, "method": ("ccp",)})
    for name in ("c1", "c2"):
        settings = {**table[name].settings, "method": ("xbm",)}
        title = f"{table[name].title}-XBM"
        small, large = ({**settings, "memory_batches": size} for size in _MEMORY_BATCHES[dataset])
        table[f"{name}_xbm"] = Cell(f"{title}-L", f"{title}-L", large)
        table[f"{name}_xbm_small"] = Cell(f"{title} with the smaller memory", None, small)
    base_of_proxies = {**base, **_PROXY_LOSS_SETTINGS}
    for name, loss in _PROXY_LOSSES.items():
        table[name] = Cell(loss.title, loss.title, {**base_of_proxies, **loss.settings(dataset)})
    table["soft_triple"] = _soft_triple(dataset, base_of_proxies)
    if dataset in _DVML_DATASETS:
        table |= _dvml(dataset, {**base, **_DVML})
    return table


def _soft_triple(dataset, base):
    settings = {**base, **_SOFT_TRIPLE.settings(dataset)}
    settings["loss_params"] = {
        **settings["loss_params"],
        "proxies_per_class": _SOFT_TRIPLE_PROXIES,
    }
    title = _SOFT_TRIPLE_TITLES[dataset]
    return Cell(title, title, settings, _SOFT_TRIPLE_NOTE)


def _dvml(dataset, base):
    triplet = _PAIRWISE_LOSSES["triplet"].settings(dataset)
    mined = {**triplet, "miner": "semi_hard", "miner_params": triplet["loss_params"]}
    n_pair = {"loss": "n_pair", "loss_params": {"temperature": 0.1}}
    return {
        "dvml_triplet": Cell(
            "DVML with the triplet loss",
            None,
            {**base, **mined},
            f"{_DVML_NOTE} The margin of the loss and the miner, that of Triplet, is our "
            "choice too.",
        ),
        "dvml_n_pair": Cell(
            "DVML with the N-pair loss",
            None,
            {**base, **n_pair},
            f"{_DVML_NOTE} The temperature is our choice too.",
        ),
    }


def conventional_settings(dataset: str, backbone: str) -> Mapping[str, Any]:
    """Returns what the conventional protocol changes in a cell, as arguments of `Settings`.

    Args:
        dataset: A key of `DATASETS`.
        backbone: A key of `BACKBONES`.

    Raises:
        ValueError: If there is no such data set or backbone.

    Example:

    >>> conventional_settings("sop", "resnet50")["patience"]
    10
    """
    check_one_of("dataset", dataset, DATASETS)
    check_one_of("backbone", backbone, BACKBONES)
    settings = {
        **_CONVENTIONAL,
        **_CONVENTIONAL_DATASETS[dataset],
        **_CONVENTIONAL_BACKBONES[backbone],
    }
    if (dataset, backbone) in _CONVENTIONAL_PATIENCE:
        settings["patience"] = _CONVENTIONAL_PATIENCE[dataset, backbone]
    return settings
