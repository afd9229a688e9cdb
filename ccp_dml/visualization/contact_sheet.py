"""A picture of samples as evaluation and training see them."""

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from ccp_dml.data import LabeledSamples


def draw_samples(
    data: LabeledSamples,
    class_names: tuple[str, ...] | None = None,
    num_classes: int = 8,
    views: int = 8,
    seed: int = 0,
) -> Figure:
    """Draws a row for each of several classes: a sample as evaluated, and as training sees it.

    Args:
        data: The samples.
        class_names: A name for each label. Defaults to `None`: the labels themselves.
        num_classes: Number of classes, spread evenly over those in label order; all of them if
            there are fewer. Defaults to 8.
        views: Number of augmented views of a sample. Defaults to 8.
        seed: Fixes which sample of a class it is, and its augmentation. Defaults to 0.

    Returns:
        A matplotlib figure, to be saved with `savefig`.

    Raises:
        ValueError: If there are no samples, or a number is not positive.
    """
    if not len(data) or num_classes < 1 or views < 1:
        raise ValueError(
            "samples, classes and views to draw must be at least 1; got "
            f"{len(data)}, {num_classes} and {views}"
        )
    chosen = _one_of_each(data.labels, num_classes, np.random.default_rng(seed))
    samples = data.subset(chosen)
    evaluated = data.displayable(np.concatenate(list(samples.evaluation_images())))
    indices = np.repeat(np.arange(len(chosen)), views)
    ((trained, _),) = samples.training_examples(
        tf.data.Dataset.from_tensors(indices), len(indices), tf.constant([seed, 0], tf.int64)
    )
    trained = data.displayable(trained.numpy()).reshape(len(chosen), views, *data.image_shape)

    figure = Figure(figsize=(1.2 * (views + 1), 1.35 * len(chosen)), layout="constrained")
    panels = figure.subplots(len(chosen), views + 1, squeeze=False)
    for row, sample in enumerate(chosen):
        for panel, image in zip(panels[row], [evaluated[row], *trained[row]], strict=True):
            panel.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            panel.set(xticks=[], yticks=[])
        label = data.labels[sample]
        panels[row, 0].set_title(class_names[label] if class_names else str(label), fontsize=8)
    panels[0, 1].set_title("as training sees it", fontsize=8, loc="left")
    return figure


def _one_of_each(labels, num_classes, generator):
    classes = np.unique(labels)
    places = np.linspace(0, len(classes) - 1, min(num_classes, len(classes))).round().astype(int)
    return np.array(
        [generator.choice(np.flatnonzero(labels == label)) for label in classes[places]]
    )
