"""Galleries as images in TensorBoard."""

import os

import numpy as np
import tensorflow as tf
from etils import epath
from PIL import Image, ImageDraw

from ccp_dml.report.retrieval_gallery import choose_queries
from ccp_dml.report.retriever import RetrievalSamples, Retriever

_QUERIES = 4
_SIZE = 64
_FRAME = 4
_CELL = _SIZE + 2 * _FRAME
_RIGHT, _WRONG, _QUERY = (44, 159, 94), (214, 62, 57), (120, 126, 133)


def write_galleries(
    log_dir: os.PathLike, retriever: Retriever, samples: RetrievalSamples, step: int
):
    """Writes easy, typical and failed queries with their results, in place of earlier ones.

    Args:
        log_dir: Folder of the TensorBoard logs, a separate run.
        retriever: The method.
        samples: The samples, which have images.
        step: Their training step.

    Raises:
        OSError: If the folder cannot be written to.
    """
    folder = epath.Path(log_dir)
    if folder.exists():
        folder.rmtree()
    chosen = choose_queries(retriever, samples, _QUERIES)
    # All at once, because each load of images starts a pipeline.
    drawn = draw_gallery(retriever, samples, np.concatenate(list(chosen.values())))
    ends = _CELL * np.cumsum([len(rows) for rows in chosen.values()])
    writer = tf.summary.create_file_writer(os.fspath(folder))
    with writer.as_default(step=step):
        for kind, part in zip(chosen, np.split(drawn, ends[:-1]), strict=True):
            description = "Rows are queries with their nearest images; a cross marks wrong ones."
            tf.summary.image(f"retrieval/{kind}", part[None], description=description)
    writer.close()


def draw_gallery(
    retriever: Retriever, samples: RetrievalSamples, queries: np.ndarray
) -> np.ndarray:
    """Draws queries, a row each, with their nearest images: right ones green, wrong ones red.

    Args:
        retriever: The method.
        samples: The samples, which have images.
        queries: Rows of the queries `(q,)`.

    Returns:
        uint8 `(height, width, 3)`.
    """
    nearest = retriever.found.nearest[queries]
    found_rows = np.unique(nearest[nearest >= 0])
    start = 0 if samples.gallery_labels is None else len(samples.labels)
    images = samples.load_all(np.concatenate([queries, start + found_rows]))
    query_images, found_images = np.split(images, [len(queries)])
    # A small gap after the query.
    left = _CELL + 2 * _FRAME
    canvas = Image.new("RGB", (left + _CELL * nearest.shape[1], _CELL * len(queries)), "white")
    for row, (query, image) in enumerate(zip(queries, query_images, strict=True)):
        _paste(canvas, image, (0, row * _CELL), _QUERY)
        for rank, neighbor in enumerate(nearest[row]):
            if neighbor >= 0:
                is_right = samples.searched_labels[neighbor] == samples.labels[query]
                found = found_images[np.searchsorted(found_rows, neighbor)]
                corner = (left + rank * _CELL, row * _CELL)
                _paste(canvas, found, corner, _RIGHT if is_right else _WRONG, not is_right)
    return np.asarray(canvas)


def _paste(canvas, image, corner, color, is_crossed=False):
    x, y = corner
    draw = ImageDraw.Draw(canvas)
    end = 2 * _FRAME + _SIZE - 1
    draw.rectangle((x + 1, y + 1, x + end - 1, y + end - 1), fill=color)
    picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).convert("RGB")
    resampling = Image.Resampling.NEAREST if max(picture.size) < _SIZE else None
    canvas.paste(picture.resize((_SIZE, _SIZE), resampling), (x + _FRAME, y + _FRAME))
    if is_crossed:
        inside = (x + _FRAME, y + _FRAME, x + _FRAME + 14, y + _FRAME + 14)
        draw.line(inside, fill=color, width=3)
        draw.line((inside[0], inside[3], inside[2], inside[1]), fill=color, width=3)
