"""Labels that are vectors or columns."""

import numpy as np


def flatten_labels(labels: np.ndarray) -> np.ndarray:
    """Flattens labels that may be a column, as for `model.fit`, to a vector.

    Args:
        labels: `(n,)` or `(n, 1)`.

    Returns:
        `(n,)`; an array of any other shape is returned as it is.

    Example:

    >>> flatten_labels(np.array([[3], [1]]))
    array([3, 1])
    """
    labels = np.asarray(labels)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
