"""Maps of the test embeddings with thumbnails of the images."""

import colorsys
from collections.abc import Sequence

import numpy as np
import threadpoolctl
from PIL import Image, ImageDraw
from sklearn.manifold import TSNE

from ccp_dml.evaluation import embedding_spread
from ccp_dml.report.figures import encode_image
from ccp_dml.report.page import Note, Picture, Section
from ccp_dml.report.retriever import RetrievalSamples, Retriever

_MAX_SAMPLES = 800
# Per class, so that several classes fit.
_MIN_PER_CLASS = 40
_ITERATIONS = 500
_PERPLEXITY = 30.0
# Coarser than the default, without a visible difference.
_ANGLE = 0.7
_MIN_SPREAD = 1e-5
_SIZE = 880
_THUMBNAIL = 30
_DOT = 4
_SEED = 0
_BACKGROUND = (24, 26, 30)


def map_section(retrievers: Sequence[Retriever], samples: RetrievalSamples) -> Section:
    """Makes the section with a map of the same images for each method.

    Args:
        retrievers: The methods.
        samples: The samples, which have images.
    """
    rows = choose_mapped(samples.all_labels)
    if len(rows) < 4:
        return Section("Map of the embeddings", [])
    images = samples.load_all(rows)
    labels = samples.all_labels[rows]
    count = len(np.unique(labels))
    note = Note(
        f"{len(rows)} test images of {count} classes, laid out by t-SNE so that near neighbours "
        "stay near; colours tell classes apart. Islands of one colour are classes that a search "
        "finds; distances between islands, and directions, have no meaning."
    )
    pictures = [
        Picture(
            f"Map of the test embeddings, {retriever.name}.",
            f"{retriever.name}: images are drawn where there is room, dots elsewhere.",
            source=encode_image(draw_map(lay_out(retriever.embeddings[rows]), images, labels)),
        )
        for retriever in retrievers
    ]
    return Section("Map of the embeddings", [note, *pictures])


def choose_mapped(labels: np.ndarray, most: int = _MAX_SAMPLES) -> np.ndarray:
    """Chooses samples of random classes, in ascending order, always the same for given labels.

    Args:
        labels: Classes `(n,)`.
        most: Largest number of samples to choose. Defaults to 800.
    """
    generator = np.random.default_rng(_SEED)
    classes = generator.permutation(np.unique(labels))
    per_class = max(_MIN_PER_CLASS, most // len(classes))
    order = generator.permutation(len(labels))
    by_class = {}
    for row, label in zip(order.tolist(), labels[order].tolist(), strict=True):
        by_class.setdefault(label, []).append(row)
    chosen = [row for label in classes.tolist() for row in by_class[label][:per_class]]
    return np.sort(chosen[:most])


def lay_out(embeddings: np.ndarray) -> np.ndarray:
    """Places embeddings in the unit square by t-SNE, always in the same way.

    Args:
        embeddings: `(n, d)`, at least four.

    Returns:
        `(n, 2)`.
    """
    # PCA divides by the spread: without any, scikit-learn's C code would crash.
    has_spread = embeddings.shape[1] > 1 and embedding_spread(embeddings) > _MIN_SPREAD
    # With several threads, rounding would depend on the order in which they end.
    with threadpoolctl.threadpool_limits(1):
        places = TSNE(
            init="pca" if has_spread else "random",
            perplexity=min(_PERPLEXITY, (len(embeddings) - 1) / 3),
            angle=_ANGLE,
            max_iter=_ITERATIONS,
            random_state=_SEED,
        ).fit_transform(embeddings)
    places -= places.min(axis=0)
    return places / np.maximum(places.max(axis=0), 1e-12)


def draw_map(places: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draws dots for all samples, and images where there is room.

    Args:
        places: Positions in the unit square `(n, 2)`.
        images: uint8 `(n, height, width, channels)`.
        labels: Classes `(n,)`, each with its own colour.

    Returns:
        uint8 `(880, 880, 3)`.
    """
    canvas = Image.new("RGB", (_SIZE, _SIZE), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    margin = _THUMBNAIL // 2 + 4
    centers = (margin + places * (_SIZE - 1 - 2 * margin)).round().astype(int)
    colors = _color_classes(labels)
    for (x, y), color in zip(centers.tolist(), colors, strict=True):
        draw.ellipse((x - _DOT, y - _DOT, x + _DOT, y + _DOT), fill=color)
    taken = np.empty((0, 2), int)
    half = _THUMBNAIL // 2
    for center, image, color in zip(centers, images, colors, strict=True):
        if (np.abs(taken - center).max(axis=1) < _THUMBNAIL + 4).any():
            continue
        taken = np.concatenate([taken, center[None]])
        x, y = center.tolist()
        draw.rectangle((x - half - 2, y - half - 2, x + half + 1, y + half + 1), fill=color)
        canvas.paste(_fit(image), (x - half, y - half))
    return np.asarray(canvas)


def _fit(image):
    picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
    is_smaller = max(picture.size) < _THUMBNAIL
    resampling = Image.Resampling.NEAREST if is_smaller else Image.Resampling.BOX
    return picture.convert("RGB").resize((_THUMBNAIL, _THUMBNAIL), resampling)


def _color_classes(labels):
    """Returns a colour for each sample; neighbouring classes differ in hue and darkness."""
    _, class_indices = np.unique(labels, return_inverse=True)
    count = class_indices.max() + 1
    # Steps by the golden ratio come close to no earlier hue.
    shades = [
        colorsys.hls_to_rgb(index * 0.618 % 1, (0.55, 0.7, 0.42)[index % 3], 0.75)
        for index in range(count)
    ]
    rounded = [tuple(round(255 * part) for part in shade) for shade in shades]
    return [rounded[index] for index in class_indices]
