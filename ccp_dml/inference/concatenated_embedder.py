"""Several networks as one, with their embeddings side by side."""

import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from ccp_dml.data.image_header import MAX_PIXELS
from ccp_dml.evaluation import concatenate_embeddings
from ccp_dml.inference.image_embedder import Image, ImageEmbedder
from ccp_dml.inference.load import load


class ConcatenatedEmbedder:
    """Embeds images with several networks, such as those of the folds of the MLRC protocol.

    Each network preprocesses the images in its own way. Their normalised embeddings are put side by
    side, and the whole is normalised; embeddings of a single network are left as they are.

    Args:
        embedders: The networks.

    Attributes:
        embedders: The networks.
        fingerprints: A hash of the weights of each network, to tell whether embeddings are from the
            same network.

    Raises:
        ValueError: If there is no network.

    Example:

    ```python
    embedder = ConcatenatedEmbedder.load(["/runs/1/model.keras", "/runs/2/model.keras"])
    embeddings = embedder.embed(["cat.jpg", "dog.png"])
    ```
    """

    def __init__(self, embedders: Sequence[ImageEmbedder]):
        if not embedders:
            raise ValueError("there must be at least one network")
        self.embedders = list(embedders)
        self.fingerprints = [fingerprint_weights(each) for each in embedders]

    @classmethod
    def load(cls, paths: Sequence[str | os.PathLike], **preprocessing) -> "ConcatenatedEmbedder":
        """Loads networks saved by training.

        Args:
            paths: The files, `model.keras`.
            **preprocessing: See `ccp_dml.inference.load`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: See `ccp_dml.inference.load`; also if a network is given twice.
        """
        if len(set(paths)) < len(paths):
            raise ValueError(f"each network must be given once; got {', '.join(map(str, paths))}")
        return cls([load(path, **preprocessing) for path in paths])

    @property
    def embedding_size(self) -> int:
        """Number of dimensions d of the embeddings."""
        return sum(each.embedding_size for each in self.embedders)

    def embed(
        self, images: Iterable[Image], batch_size: int = 256, max_pixels: int = MAX_PIXELS
    ) -> np.ndarray:
        """Embeds images; see `ImageEmbedder.embed`, also for the errors raised.

        Args:
            images: As for `ImageEmbedder.embed`.
            batch_size: Number of images at a time. Defaults to 256.
            max_pixels: Largest number of pixels of an encoded image. Defaults to 50 million.

        Returns:
            float32 embeddings `(n, d)`.
        """
        if len(self.embedders) == 1:
            return self.embedders[0].embed(images, batch_size, max_pixels)
        images = list(images)
        return concatenate_embeddings(
            [each.embed(images, batch_size, max_pixels) for each in self.embedders]
        )


def fingerprint_weights(embedder: ImageEmbedder) -> str:
    """Computes a hash of the weights of a network, the same for all files of the network.

    Args:
        embedder: The network.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for weight in embedder.network.weights:
        array = np.ascontiguousarray(weight.numpy())
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]
