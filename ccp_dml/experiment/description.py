"""Descriptions of the contents and splits of data sets."""

import numpy as np

from ccp_dml.data import Benchmark, LabeledSamples, class_fold, hold_out_samples
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.training_data import check_given_validation, split_benchmark


def describe(benchmark: Benchmark, settings: Settings) -> str:
    """Describes a benchmark: images, classes, extremes, validation, irregularities.

    Args:
        benchmark: The data.
        settings: Settings of validation.

    Returns:
        Several lines.
    """
    parts = {"train": benchmark.train, "val": benchmark.validation}
    if benchmark.gallery is None:
        parts["test"] = benchmark.test
    else:
        parts |= {"query": benchmark.test, "gallery": benchmark.gallery}
    parts = {name: part for name, part in parts.items() if part is not None}
    width, height = benchmark.train.image_shape[1::-1]
    lines = [
        f"data set {settings.dataset}: {sum(map(len, parts.values())):,} images, inputs of "
        f"{width} x {height} pixels and {benchmark.train.image_shape[2]} channels",
        "",
        "| | images | classes | smallest class | largest class |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for name, data in parts.items():
        classes, sizes = np.unique(data.labels, return_counts=True)
        extremes = (
            f"{sizes[place]} images: {_format_class(classes[place], benchmark.class_names)}"
            for place in (np.argmin(sizes), np.argmax(sizes))
        )
        lines.append(f"| {name} | {len(data):,} | {len(classes):,} | {' | '.join(extremes)} |")
    lines += ["", *_describe_validation(benchmark, settings)]
    if settings.label_noise:
        lines.append(_describe_noise(benchmark, settings))
    if benchmark.notes:
        lines += ["", *(f"- {note}" for note in benchmark.notes)]
    return "\n".join(lines)


def _describe_validation(benchmark, settings):
    train = benchmark.train
    if benchmark.validation is not None:
        check_given_validation(settings)
        return [
            f"trains on {_format_size(train)}, validates on the val split: "
            f"{_format_size(benchmark.validation)}, {_compare_classes(benchmark)}"
        ]
    if settings.validation == "test":
        return [f"trains on {_format_size(train)}, validates on the test classes"]
    if settings.validation == "samples":
        training, held_out = hold_out_samples(
            train.labels, settings.validation_fraction, settings.seed
        )
        return [
            f"trains on {len(training):,} images, validates on {len(held_out):,} of all classes"
        ]
    lines = []
    # Reports a fold that does not exist.
    class_fold(train.labels, settings.num_folds, settings.fold)
    for fold in range(1, settings.num_folds + 1):
        training, validation = (
            train.subset(indices) for indices in class_fold(train.labels, settings.num_folds, fold)
        )
        chosen = " (chosen)" if fold == settings.fold else ""
        few = "; too few classes to validate on" if validation.num_classes < 2 else ""
        first, last = (
            _format_class(label, benchmark.class_names)
            for label in (validation.labels.min(), validation.labels.max())
        )
        lines.append(
            f"fold {fold} of {settings.num_folds}{chosen}: trains on {_format_size(training)}, "
            f"validates on {_format_size(validation)}, from {first} to {last}{few}"
        )
    return lines


def _describe_noise(benchmark, settings):
    data = split_benchmark(benchmark, settings)
    sizes = np.bincount(data.train.labels)
    lost = len(np.unique(data.true_labels)) - len(sizes)
    without = f"; classes left without images are omitted: {lost:,}" if lost else ""
    return (
        f"label noise: {data.num_replaced:,} of {len(data.train):,} training labels are replaced; "
        f"classes then have {sizes.min():,} to {sizes.max():,} images{without}"
    )


def _compare_classes(benchmark):
    classes = np.unique(benchmark.validation.labels)
    trained = int(np.isin(classes, benchmark.train.labels).sum())
    if trained == len(classes):
        return "all of which are training classes"
    verb = "is a training class" if trained == 1 else "are training classes"
    return f"{trained or 'none'} of which {verb}"


def _format_size(data: LabeledSamples):
    return f"{len(data):,} images of {data.num_classes:,} classes"


def _format_class(label, class_names):
    if class_names is None:
        return f"class {label}"
    # A bar would end the cell of the table.
    return f"class {label} ({class_names[label].replace('|', '¦')})"
