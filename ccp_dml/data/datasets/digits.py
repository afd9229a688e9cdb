"""scikit-learn's handwritten digits."""

import numpy as np

from ccp_dml.data.augmentation import random_affine
from ccp_dml.data.benchmark import Benchmark
from ccp_dml.data.images import LabeledImages


def digits() -> Benchmark:
    """scikit-learn's handwritten digits, 8 × 8 grey pixels in 0…1: 0–4 train, 5–9 test."""
    # Imported here because scikit-learn's data sets import many other modules.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images[..., np.newaxis] / 16.0).astype("float32")
    data = LabeledImages(images, bunch.target, random_affine)
    return Benchmark(
        train=data.subset(np.flatnonzero(bunch.target < 5)),
        test=data.subset(np.flatnonzero(bunch.target >= 5)),
    )
