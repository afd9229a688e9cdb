"""What a run trains and validates on, from its settings."""

import dataclasses
from typing import Any

import numpy as np

from ccp_dml.data import (
    Benchmark,
    ImageFiles,
    LabeledSamples,
    Preprocessing,
    class_fold,
    compose_augmentation,
    contiguous,
    hold_out_samples,
    load,
)
from ccp_dml.experiment.settings import HARD_CLASS_PARAMETERS, Settings
from ccp_dml.models import value_scaling


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """The training classes of a benchmark, split for training and validation.

    Attributes:
        train: Training samples with the labels 0…C − 1.
        validation: Validation samples.
        validation_gallery: What these are searched in; `None` if that is among themselves.
    """

    train: LabeledSamples
    validation: LabeledSamples
    validation_gallery: LabeledSamples | None


def load_benchmark(settings: Settings) -> Benchmark:
    """Loads the data set of a run.

    Raises:
        ValueError: See `ccp_dml.data.load`, `ccp_dml.data.compose_augmentation` and
            `ccp_dml.models.value_scaling`.
    """
    scaling = settings.scaling
    if scaling == "auto":
        scaling = value_scaling(settings.backbone)
    return load(
        settings.dataset,
        settings.data_dir or None,
        Preprocessing(
            settings.image_size,
            settings.resize_size or None,
            settings.crop,
            scaling,
            settings.background,
            settings.fit,
            settings.crop_area,
            settings.flip,
        ),
        settings.cache,
        settings.max_bad_images,
        settings.max_pixels,
        augmentation=compose_augmentation(
            settings.image_size,
            settings.color_jitter,
            settings.rand_augment,
            settings.rand_augment_magnitude,
            settings.random_erasing,
            settings.augmentation,
        ),
        **settings.dataset_params,
    )


def split_benchmark(benchmark: Benchmark, settings: Settings) -> TrainingData:
    """Splits a benchmark into what trains and what validates.

    What a data set gives to validate on does so, and nothing else.

    Raises:
        ValueError: If there is no such fold, it leaves too few classes to validate on, or settings
            ask for another validation than the data set gives.
    """
    train = benchmark.train
    if benchmark.validation is not None:
        check_given_validation(settings)
        training = train.with_labels(contiguous(train.labels))
        return TrainingData(training, benchmark.validation, None)
    if settings.validation == "test":
        training = train.with_labels(contiguous(train.labels))
        return TrainingData(training, benchmark.test, benchmark.gallery)
    if settings.validation != "samples":
        indices, held_out = class_fold(train.labels, settings.num_folds, settings.fold)
    else:
        indices, held_out = hold_out_samples(
            train.labels, settings.validation_fraction, settings.seed
        )
    training, validation = train.subset(indices), train.subset(held_out)
    if validation.num_classes < 2:
        raise ValueError(
            f"{validation.num_classes} classes are too few to validate retrieval on: choose fewer "
            f"than {settings.num_folds} folds, another fold than {settings.fold}, or "
            "validation=samples"
        )
    return TrainingData(training.with_labels(contiguous(training.labels)), validation, None)


def sampler_arguments(train: LabeledSamples, settings: Settings) -> dict[str, Any]:
    """What the sampler takes beside the numbers that all take.

    Args:
        train: The training samples.
        settings: `sampler` and its parameters.

    Raises:
        ValueError: If it needs super-classes and the data have none, or one.
    """
    arguments = {
        name: value
        for name, value in settings.sampler_params.items()
        if name not in HARD_CLASS_PARAMETERS
    }
    if settings.sampler == "hierarchical":
        if not isinstance(train, ImageFiles):
            raise ValueError(
                f"the sampler hierarchical needs super-classes, and {settings.dataset} has none: "
                "they are the folders above the folders of the classes' images"
            )
        arguments["super_classes"] = _find_super_classes(train.paths)
    return arguments


def _find_super_classes(paths):
    """The folders above those that files are in `(n,)`.

    Raises:
        ValueError: If there is only one.
    """
    folders = np.array([path.rsplit("/", 2)[0] for path in paths.tolist()])
    if len(np.unique(folders)) < 2:
        raise ValueError(
            "the sampler hierarchical needs at least two super-classes, and the folders of all "
            f"classes are in {folders[0]}: put those that belong together into a folder of "
            "their own, and list the images in a CSV file; a SOP or In-Shop that an earlier "
            "version exported has to be made again"
        )
    return folders


def check_given_validation(settings: Settings):
    """Checks that settings do not ask for another validation than the split `val` of a data set.

    Raises:
        ValueError: If they do; the message says what to leave out.
    """
    if settings.validation != "auto":
        raise ValueError(
            "validation must be auto for a data set with a split val, which validates; got "
            f"{settings.validation!r}: leave it out, or take val out of the data set"
        )
    if settings.fold != 1:
        raise ValueError(
            f"there are no folds, because the split val of the data set validates; got fold "
            f"{settings.fold}"
        )
