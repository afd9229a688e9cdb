"""A figure of samples as evaluation and training see them."""

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from ccp_dml.checks import check_at_least, check_whole_number
from ccp_dml.data import LabeledSamples

_LONGEST_NAME = 16


def draw_samples(
    data: LabeledSamples,
    class_names: tuple[str, ...] | None = None,
    num_classes: int = 8,
    views: int = 8,
    seed: int = 0,
) -> Figure:
    """Draws a row for each of several classes: a sample for evaluation, and augmented samples.

    Args:
        data: The samples.
        class_names: A name for each label. Defaults to `None`: the labels themselves.
        num_classes: Number of classes, spread evenly over those in label order; all of them if
            there are fewer. Defaults to 8.
        views: Number of augmented samples of a class, the first of which is also shown without
            augmentation; they repeat if the class has fewer. Defaults to 8.
        seed: Determines the samples of a class and their augmentation. Defaults to 0.

    Returns:
        A matplotlib figure, to be saved with `savefig`.

    Raises:
        ValueError: If there are no samples, or a number is not positive.
    """
    check_at_least("number of samples", len(data), 1)
    check_whole_number("num_classes", num_classes, 1)
    check_whole_number("views", views, 1)
    chosen = _choose_samples(data.labels, num_classes, views, np.random.default_rng(seed))
    shown_first = data.subset(chosen[:, 0])
    evaluated = data.displayable(np.concatenate(list(shown_first.evaluation_images())))
    samples = data.subset(chosen.ravel())
    ((trained, _),) = samples.training_examples(
        tf.data.Dataset.range(len(samples)).batch(len(samples)),
        len(samples),
        tf.constant([seed, 0], tf.int64),
    )
    trained = data.displayable(trained.numpy()).reshape(*chosen.shape, *data.image_shape)

    figure = Figure(figsize=(1.2 * (views + 1), 1.35 * len(chosen)), layout="constrained")
    panels = figure.subplots(len(chosen), views + 1, squeeze=False)
    for row, class_samples in enumerate(chosen):
        for panel, image in zip(panels[row], [evaluated[row], *trained[row]], strict=True):
            panel.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            panel.set(xticks=[], yticks=[])
        label = data.labels[class_samples[0]]
        name = class_names[label] if class_names else str(label)
        # Names may contain dollar signs, which matplotlib would take for mathematics.
        panels[row, 0].set_title(_shorten(name), fontsize=8, parse_math=False)
    panels[0, 1].set_title("as training sees it", fontsize=8, loc="left")
    return figure


def _shorten(name):
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _choose_samples(labels, num_classes, count, generator):
    """Chooses indices of samples `(classes, count)`."""
    classes = np.unique(labels)
    places = np.linspace(0, len(classes) - 1, min(num_classes, len(classes))).round().astype(int)
    return np.array(
        [
            np.resize(generator.permutation(np.flatnonzero(labels == label)), count)
            for label in classes[places]
        ]
    )
