"""Agreement of clusters of embeddings with the classes: NMI, AMI and pairwise F1."""

import numpy as np

from ccp_dml.evaluation.class_labels import flatten_labels

CLUSTERING_METRICS = ("nmi", "ami", "pairwise_f1")
"""Names of the metrics."""


def clustering_metrics(
    embeddings: np.ndarray, labels: np.ndarray, seed: int = 0, max_iterations: int = 100
) -> dict[str, float]:
    """Compares the classes with a k-means clustering into as many clusters as classes.

    Args:
        embeddings: `(n, d)`.
        labels: Their classes `(n,)` or `(n, 1)`.
        seed: Seed of the k-means++ initialisation, which is done once. Defaults to 0.
        max_iterations: Largest number of iterations of k-means. Defaults to 100.

    Returns:
        - `nmi`: the mutual information of clusters and classes, divided by the arithmetic mean of
          their entropies, between 0 and 1;
        - `ami`: the same adjusted for chance (Vinh, Epps and Bailey, JMLR 2010), about 0 for random
          clusters, below 0 for worse ones and 1 for clusters that equal the classes;
        - `pairwise_f1`: 2PR / (P + R) over all pairs of samples, where P is the fraction of pairs
          in the same cluster that are of the same class, and R the fraction of pairs of the same
          class that are in the same cluster; 0 if there is no such pair.

    Raises:
        ValueError: If the shapes do not fit, there are no embeddings, or a value is not finite.

    Example:

    >>> clustering_metrics(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([3, 3, 7, 7]))
    {'nmi': 1.0, 'ami': 1.0, 'pairwise_f1': 1.0}
    """
    embeddings, labels = np.asarray(embeddings), flatten_labels(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
        raise ValueError(
            "embeddings must be (n, d) and labels (n,), with at least one sample; got "
            f"{embeddings.shape} and {labels.shape}"
        )
    if not np.isfinite(embeddings).all():
        raise ValueError("embeddings must be finite")
    # Imported here because it takes as long as the rest of the package.
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import pair_confusion_matrix

    means = KMeans(
        len(np.unique(labels)), n_init=1, max_iter=max_iterations, random_state=seed
    ).fit(embeddings)
    pairs = pair_confusion_matrix(labels, means.labels_).astype(float)
    (_, only_in_clusters), (only_in_classes, in_both) = pairs
    f1 = 2 * in_both / max(2 * in_both + only_in_clusters + only_in_classes, 1.0)
    nmi = normalized_mutual_info_score(labels, means.labels_)
    ami = adjusted_mutual_info_score(labels, means.labels_)
    return {"nmi": float(nmi), "ami": float(ami), "pairwise_f1": float(f1)}
