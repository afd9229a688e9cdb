"""A short run on the digits."""

import csv

import keras

from ccp_dml.experiment import Run
from ccp_dml.experiment.settings import Settings


def tiny_backbone(input_shape):
    """Has batch normalisation, as a user's own backbone may."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
        ]
    )


def make_run(**changes):
    """A short run on the digits."""
    small = {
        "backbone": f"{__name__}:tiny_backbone",
        "embedding_size": 8,
        "validation": "samples",
        "classes_per_batch": 5,
        "samples_per_class": 3,
        "learning_rate": 1e-2,
        "max_steps": 20,
        "steps_per_validation": 5,
        "proxies_per_class": 2,
        "pool_size": 3,
        "method": ("plain",),
    }
    return Run(Settings(**{**small, **changes}))


def history_of(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def without_seconds(results):
    """The results of a run without the seconds, which differ each time."""
    return {
        name: {key: value for key, value in entry.items() if key != "seconds"}
        if isinstance(entry, dict)
        else entry
        for name, entry in results.items()
    }
