"""Files for TensorBoard's embedding projector."""

import io
import math
import os

import numpy as np
from etils import epath
from PIL import Image
from tensorboard.plugins import projector

from ccp_dml.atomic_write import atomic_write
from ccp_dml.report.embedding_map import choose_mapped
from ccp_dml.report.retriever import RetrievalSamples

_MAX_SAMPLES = 1500


def write_projector(log_dir: os.PathLike, embeddings: np.ndarray, samples: RetrievalSamples):
    """Writes embeddings of at most 1,500 samples, with the names of their classes and images.

    Args:
        log_dir: Folder of the TensorBoard logs; the files are in its subfolder `projector`, and
            `projector_config.pbtxt` beside the logs refers to them.
        embeddings: Embeddings of all samples, queries first `(n, d)`.
        samples: The samples, which have images.

    Raises:
        OSError: If the files cannot be written.
    """
    folder = epath.Path(log_dir) / "projector"
    rows = choose_mapped(samples.all_labels, _MAX_SAMPLES)
    images = samples.load_all(rows)
    # Each line of the file is one sample.
    names = (" ".join(samples.name(int(label)).split()) for label in samples.all_labels[rows])
    values = io.StringIO()
    np.savetxt(values, embeddings[rows], fmt="%.6g", delimiter="\t")
    _write(folder / "embeddings.tsv", values.getvalue().encode())
    _write(folder / "classes.tsv", "".join(f"{name}\n" for name in names).encode(errors="replace"))
    _write(folder / "images.png", _draw_sprite(images))
    config = projector.ProjectorConfig()
    shown = config.embeddings.add()
    shown.tensor_name = "test_embeddings"
    shown.tensor_path = "projector/embeddings.tsv"
    shown.metadata_path = "projector/classes.tsv"
    shown.sprite.image_path = "projector/images.png"
    shown.sprite.single_image_dim.extend([images.shape[2], images.shape[1]])
    projector.visualize_embeddings(os.fspath(log_dir), config)


def _write(path, content):
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content)


def _draw_sprite(images):
    """Draws the images in rows of a square as PNG."""
    count, height, width, channels = images.shape
    side = math.ceil(math.sqrt(count))
    sprite = np.zeros((side * side, height, width, channels), "uint8")
    sprite[:count] = images
    sprite = sprite.reshape(side, side, height, width, channels).swapaxes(1, 2)
    sprite = sprite.reshape(side * height, side * width, channels)
    file = io.BytesIO()
    Image.fromarray(sprite.squeeze(2) if channels == 1 else sprite).save(file, "png")
    return file.getvalue()
