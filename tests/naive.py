"""The mathematics written the naive way, in float64 NumPy: what the package is compared with."""

import numpy as np


def normalize(vectors):
    vectors = np.asarray(vectors, "float64")
    return np.array([v / np.linalg.norm(v) if np.linalg.norm(v) > 1 else v for v in vectors])


def pairs(labels, embeddings, references=None, reference_labels=None, normalized=True):
    """Yields, for every anchor, its positives and its negatives as rows of vectors."""
    among_themselves = references is None
    if among_themselves:
        references, reference_labels = embeddings, labels
    scale = normalize if normalized else lambda vectors: np.asarray(vectors, "float64")
    embeddings, references = scale(embeddings), scale(references)
    for i, anchor in enumerate(embeddings):
        positives, negatives = [], []
        for j, reference in enumerate(references):
            if labels[i] != reference_labels[j]:
                negatives.append(reference)
            elif not (among_themselves and i == j):
                positives.append(reference)
        yield anchor, positives, negatives


def _mean_over_nonzero(terms):
    terms = [term for term in terms if term > 0]
    return sum(terms) / len(terms) if terms else 0.0


def _distance(a, b):
    return np.sqrt(np.sum((a - b) ** 2))


def contrastive(anchors, positive_margin=0.0, negative_margin=0.3841):
    pull, push = [], []
    for anchor, positives, negatives in anchors:
        pull += [max(_distance(anchor, p) - positive_margin, 0) for p in positives]
        push += [max(negative_margin - _distance(anchor, n), 0) for n in negatives]
    return _mean_over_nonzero(pull) + _mean_over_nonzero(push)


def cosine_contrastive(anchors, margin=0.5):
    total, count = 0.0, 0
    for anchor, positives, negatives in anchors:
        count += 1
        total += sum(max(1 - anchor @ p - 1e-5, 0) for p in positives)
        total += sum(max(anchor @ n - margin, 0) for n in negatives)
    return total / count


def triplet(anchors, margin=0.0961):
    terms = []
    for anchor, positives, negatives in anchors:
        for p in positives:
            terms += [
                max(_distance(anchor, p) - _distance(anchor, n) + margin, 0) for n in negatives
            ]
    return _mean_over_nonzero(terms)


def multi_similarity(anchors, alpha=2.0, beta=40.0, base=0.5):
    losses = []
    for anchor, positives, negatives in anchors:
        pull = np.log(1 + sum(np.exp(alpha * (base - anchor @ p)) for p in positives)) / alpha
        push = np.log(1 + sum(np.exp(beta * (anchor @ n - base)) for n in negatives)) / beta
        losses.append(pull + push)
    return np.mean(losses)


LOSSES = {
    "contrastive": contrastive,
    "cosine_contrastive": cosine_contrastive,
    "triplet": triplet,
    "multi_similarity": multi_similarity,
}


def loss(name, labels, embeddings, references=None, reference_labels=None, **params):
    return LOSSES[name](pairs(labels, embeddings, references, reference_labels), **params)


def greedy_k_center(pool, initial, k):
    chosen = []
    for points, present in zip(
        np.asarray(pool, "float64"), np.asarray(initial, "float64"), strict=True
    ):
        centers = list(present) if len(present) else [np.zeros(points.shape[1])]
        taken = []
        for _ in range(k):
            nearest = [min(np.sum((p - c) ** 2) for c in centers) for p in points]
            taken.append(int(np.argmax(nearest)))
            centers.append(points[taken[-1]])
        chosen.append(taken)
    return np.array(chosen)


def retrieval(queries, labels, gallery=None, gallery_labels=None, recall_at=(1, 2, 4, 8)):
    among_themselves = gallery is None
    if among_themselves:
        gallery, gallery_labels = queries, labels
    values = {name: [] for name in ("precision_at_1", "r_precision", "map_at_r")}
    values |= {f"recall_at_{k}": [] for k in recall_at}
    for i, query in enumerate(np.asarray(queries, "float64")):
        distances = np.sqrt(np.sum((np.asarray(gallery, "float64") - query) ** 2, axis=1))
        order = [
            j for j in np.argsort(distances, kind="stable") if not (among_themselves and i == j)
        ]
        correct = [gallery_labels[j] == labels[i] for j in order]
        relevant = sum(correct)
        if not relevant:
            continue
        values["precision_at_1"].append(correct[0])
        values["r_precision"].append(sum(correct[:relevant]) / relevant)
        values["map_at_r"].append(
            sum(sum(correct[: j + 1]) / (j + 1) for j in range(relevant) if correct[j]) / relevant
        )
        for k in recall_at:
            values[f"recall_at_{k}"].append(any(correct[:k]))
    return {name: float(np.mean(of_query)) for name, of_query in values.items()}
