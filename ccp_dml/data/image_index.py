"""Image files on disk or in a bucket, with their classes and splits."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageIndex:
    """Where images are, and what they show; a row is an image."""

    paths: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    class_names: tuple[str, ...] | None = None
