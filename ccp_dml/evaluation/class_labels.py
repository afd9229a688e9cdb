"""Labels as the losses take them too: vectors, or columns."""

import numpy as np


def flatten_labels(labels: np.ndarray) -> np.ndarray:
    """Makes a vector of labels that may be a column, as those of `model.fit` often are.

    Args:
        labels: `(n,)` or `(n, 1)`.

    Returns:
        `(n,)`; an array of any other shape as it is.

    Example:

    >>> flatten_labels(np.array([[3], [1]]))
    array([3, 1])
    """
    labels = np.asarray(labels)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
