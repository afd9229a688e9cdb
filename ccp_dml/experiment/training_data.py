"""The training and validation data of a run, from its settings."""

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
    replace_labels,
)
from ccp_dml.experiment.settings import HARD_CLASS_PARAMETERS, Settings
from ccp_dml.models import value_scaling


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """The training classes of a benchmark, split for training and validation.

    Attributes:
        train: Training samples with the labels 0…C − 1, some of them wrong if there is label noise.
        true_labels: The labels of these samples in the data set `(n,)`.
        classes: The label of each of the C classes in the data set, ascending `(C,)`.
        validation: Validation samples.
        validation_gallery: The gallery to search in; `None` to search among themselves.
    """

    train: LabeledSamples
    true_labels: np.ndarray
    classes: np.ndarray
    validation: LabeledSamples
    validation_gallery: LabeledSamples | None

    @property
    def num_replaced(self) -> int:
        """Number of training samples whose label differs from the data set."""
        return int(np.sum(self.classes[self.train.labels] != self.true_labels))


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
    """Splits a benchmark into training and validation data.

    If a data set provides validation samples, only these are used for validation. Labels are
    replaced only among training samples; a class that loses all its samples is not trained.

    Raises:
        ValueError: If there is no such fold, if it leaves too few classes to validate on, or if
            settings ask for a validation other than the one that the data set provides, or for
            label noise with a single class.
    """
    train = benchmark.train
    if benchmark.validation is not None:
        check_given_validation(settings)
        return _with_noise(train, settings, benchmark.validation)
    if settings.validation == "test":
        return _with_noise(train, settings, benchmark.test, benchmark.gallery)
    if settings.validation != "samples":
        indices, held_out = class_fold(train.labels, settings.num_folds, settings.fold)
    else:
        indices, held_out = hold_out_samples(
            train.labels, settings.validation_fraction, settings.seed
        )
    training, validation = train.subset(indices), train.subset(held_out)
    if validation.num_classes < 2:
        raise ValueError(
            f"validation needs at least 2 classes; got {validation.num_classes}: choose fewer than "
            f"{settings.num_folds} folds, a fold other than {settings.fold}, or validation=samples"
        )
    return _with_noise(training, settings, validation)


def _with_noise(training, settings, validation, gallery=None):
    labels = replace_labels(training.labels, settings.label_noise, settings.seed)
    return TrainingData(
        training.with_labels(contiguous(labels)),
        training.labels,
        np.unique(labels),
        validation,
        gallery,
    )


def sampler_arguments(data: TrainingData, settings: Settings) -> dict[str, Any]:
    """Returns the arguments of the sampler besides those that all samplers take.

    Args:
        data: Its training samples.
        settings: `sampler` and its parameters.

    Raises:
        ValueError: If it needs super-classes and the data have none, or only one.
    """
    arguments: dict[str, Any] = {
        name: value
        for name, value in settings.sampler_params.items()
        if name not in HARD_CLASS_PARAMETERS
    }
    if settings.sampler == "hierarchical":
        if not isinstance(data.train, ImageFiles):
            raise ValueError(
                f"the sampler hierarchical needs super-classes, but {settings.dataset} has none: "
                "they are the folders above the folders of the classes' images"
            )
        arguments["super_classes"] = _find_super_classes(data)
    return arguments


def _find_super_classes(data):
    """Finds the folder above the class folder of each training sample `(n,)`.

    A sample with a wrong label belongs to the super-class of that label.

    Raises:
        ValueError: If there is only one.
    """
    folders = np.array([path.rsplit("/", 2)[0] for path in data.train.paths.tolist()])
    if len(np.unique(folders)) < 2:
        raise ValueError(
            "the sampler hierarchical needs at least two super-classes, but the folders of all "
            f"classes are in {folders[0]}: put those that belong together into a folder of their "
            "own, and list the images in a CSV file; SOP or In-Shop exported by an earlier version "
            "has to be exported again"
        )
    labels = data.classes[data.train.labels]
    is_replaced = labels != data.true_labels
    true_classes, first_samples = np.unique(data.true_labels, return_index=True)
    folders[is_replaced] = folders[first_samples[true_classes.searchsorted(labels[is_replaced])]]
    return folders


def check_given_validation(settings: Settings):
    """Checks that settings do not ask for validation other than on the `val` split of a data set.

    Raises:
        ValueError: If they do; the message says what to leave out.
    """
    if settings.validation != "auto":
        raise ValueError(
            "a data set with a val split is validated on it, so validation must be auto; got "
            f"{settings.validation!r}: leave the flag out, or remove val from the data set"
        )
    if settings.fold != 1:
        raise ValueError(
            f"there are no folds, because the data set has a val split to validate on; got fold "
            f"{settings.fold}"
        )
