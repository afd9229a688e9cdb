"""The mathematics in naive float64 NumPy, which the package is compared with."""

import fractions
import operator

import numpy as np


def normalize(vectors):
    vectors = np.asarray(vectors, "float64")
    return np.array([v / np.linalg.norm(v) if np.linalg.norm(v) > 1 else v for v in vectors])


def pairs(
    labels,
    embeddings,
    references=None,
    reference_labels=None,
    normalized=True,
    same_class=operator.eq,
):
    """Yields every anchor with lists of its positives and its negatives, all of them vectors."""
    among_themselves = references is None
    if among_themselves:
        references, reference_labels = embeddings, labels
    scale = normalize if normalized else lambda vectors: np.asarray(vectors, "float64")
    embeddings, references = scale(embeddings), scale(references)
    for i, anchor in enumerate(embeddings):
        positives, negatives = [], []
        for j, reference in enumerate(references):
            if among_themselves and i == j:
                continue
            is_positive = same_class(labels[i], reference_labels[j])
            (positives if is_positive else negatives).append(reference)
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


def proxy_anchor(references, margin=0.1, alpha=32.0):
    """Takes the references as anchors, paired with the samples."""
    pull, push = [], []
    for anchor, positives, negatives in references:
        if positives:
            total = sum(np.exp(-alpha * (anchor @ p - margin)) for p in positives)
            pull.append(np.log(1 + total))
        if negatives:
            push.append(np.log(1 + sum(np.exp(alpha * (anchor @ n + margin)) for n in negatives)))
    return (np.mean(pull) if pull else 0.0) + (np.mean(push) if push else 0.0)


def proxy_nca(anchors, temperature=0.1):
    losses = []
    for anchor, positives, negatives in anchors:
        own = sum(np.exp(anchor @ p / temperature) for p in positives)
        others = sum(np.exp(anchor @ n / temperature) for n in negatives)
        if positives:
            losses.append(-np.log(own / (own + others)))
    return np.mean(losses) if losses else 0.0


def normalized_softmax(anchors, temperature=0.05):
    losses = []
    for anchor, positives, negatives in anchors:
        total = sum(np.exp(anchor @ v / temperature) for v in positives + negatives)
        anchor_losses = [-np.log(np.exp(anchor @ p / temperature) / total) for p in positives]
        if positives:
            losses.append(np.mean(anchor_losses))
    return np.mean(losses) if losses else 0.0


def n_pair(anchors, temperature=0.1):
    losses = []
    for anchor, positives, negatives in anchors:
        for p in positives:
            total = sum(np.exp((anchor @ n - anchor @ p) / temperature) for n in negatives)
            losses.append(np.log(1 + total))
    return np.mean(losses) if losses else 0.0


def margin(anchors, alpha=0.2, beta=1.2, nu=0.0):
    """Takes one β for all anchors or one for each."""
    anchors = list(anchors)
    betas = np.broadcast_to(beta, len(anchors))
    terms = []
    for b, (anchor, positives, negatives) in zip(betas, anchors, strict=True):
        terms += [max(alpha + _distance(anchor, p) - b, 0) for p in positives]
        terms += [max(alpha - _distance(anchor, n) + b, 0) for n in negatives]
    return _mean_over_nonzero(terms) + nu * (np.mean(betas) if len(betas) else 0.0)


def soft_triple(
    labels,
    embeddings,
    references,
    reference_labels,
    scale=20.0,
    gamma=0.1,
    tau=0.2,
    margin=0.01,
    proxies_per_class=10,
):
    samples, proxies = normalize(embeddings), normalize(references)
    order = np.argsort(reference_labels, kind="stable")
    classes = [
        (reference_labels[rows[0]], proxies[rows])
        for rows in (
            order[k : k + proxies_per_class] for k in range(0, len(order), proxies_per_class)
        )
    ]
    losses = []
    for sample, label in zip(samples, labels, strict=True):
        own, others = 0.0, 0.0
        for proxy_label, points in classes:
            similarities = [sample @ point for point in points]
            exponentials = [np.exp(s / gamma) for s in similarities]
            relaxed = np.dot(exponentials, similarities) / sum(exponentials)
            if proxy_label == label:
                own += np.exp(scale * (relaxed - margin))
            else:
                others += np.exp(scale * relaxed)
        if own:
            losses.append(-np.log(own / (own + others)))
    spread = 0.0
    for _, points in classes:
        for k in range(proxies_per_class):
            for other in range(k):
                spread += _distance(points[k], points[other])
    count = len(classes) * proxies_per_class * (proxies_per_class - 1)
    return (np.mean(losses) if losses else 0.0) + (tau * spread / count if count else 0.0)


def _softmax_with_margin(anchors, scale, add_margin):
    losses = []
    for anchor, positives, negatives in anchors:
        others = sum(np.exp(scale * (anchor @ n)) for n in negatives)
        for p in positives:
            own = np.exp(scale * add_margin(anchor @ p))
            losses.append(-np.log(own / (own + others)))
    return np.mean(losses) if losses else 0.0


def arcface(anchors, margin=0.5, scale=64.0):
    def add_margin(cosine):
        angle = np.arccos(np.clip(cosine, -1, 1))
        if angle + margin > np.pi:
            return np.cos(angle) - margin * np.sin(margin)
        return np.cos(angle + margin)

    return _softmax_with_margin(anchors, scale, add_margin)


def cosface(anchors, margin=0.35, scale=64.0):
    return _softmax_with_margin(anchors, scale, lambda cosine: cosine - margin)


def sub_center_arcface(
    labels, embeddings, references, reference_labels, margin=0.5, scale=64.0, proxies_per_class=3
):
    """ArcFace against the nearest proxy of each class."""
    samples, proxies = normalize(embeddings), normalize(references)
    order = np.argsort(reference_labels, kind="stable")
    classes = [order[k : k + proxies_per_class] for k in range(0, len(order), proxies_per_class)]
    anchors = []
    for sample, label in zip(samples, labels, strict=True):
        own, others = [], []
        for rows in classes:
            nearest = max(proxies[rows], key=lambda point, sample=sample: sample @ point)
            (own if reference_labels[rows[0]] == label else others).append(nearest)
        anchors.append((sample, own, others))
    return arcface(anchors, margin, scale)


def circle(anchors, margin=0.4, gamma=80.0, weights_of=None):
    """Computes the weights from the pairs `weights_of`, by default `anchors`."""
    anchors = list(anchors)
    weights_of = anchors if weights_of is None else list(weights_of)
    losses = []
    for (anchor, positives, negatives), (fixed, fixed_positives, fixed_negatives) in zip(
        anchors, weights_of, strict=True
    ):
        if not positives or not negatives:
            continue
        pull = sum(
            np.exp(-gamma * max(1 + margin - fixed @ q, 0) * (anchor @ p - (1 - margin)))
            for p, q in zip(positives, fixed_positives, strict=True)
        )
        push = sum(
            np.exp(gamma * max(fixed @ q + margin, 0) * (anchor @ n - margin))
            for n, q in zip(negatives, fixed_negatives, strict=True)
        )
        losses.append(np.log(1 + pull * push))
    return np.mean(losses) if losses else 0.0


def sup_con(anchors, temperature=0.1):
    return normalized_softmax(anchors, temperature)


def angular(anchors, alpha=45.0):
    squared_tangent = np.tan(np.radians(alpha)) ** 2
    losses = []
    for anchor, positives, negatives in anchors:
        for p in positives:
            pull = 2 * (1 + squared_tangent) * (anchor @ p)
            total = sum(np.exp(4 * squared_tangent * ((anchor + p) @ n) - pull) for n in negatives)
            losses.append(np.log(1 + total))
    return np.mean(losses) if losses else 0.0


def lifted_structure(labels, embeddings, references=None, reference_labels=None, alpha=1.0):
    samples = normalize(embeddings)
    among_themselves = references is None
    others = samples if among_themselves else normalize(references)
    other_labels = labels if among_themselves else reference_labels
    losses = []
    for i, sample in enumerate(samples):
        for j, other in enumerate(others):
            if labels[i] != other_labels[j] or (among_themselves and i == j):
                continue
            of_sample = [r for r, of in zip(others, other_labels, strict=True) if of != labels[i]]
            of_other = [s for s, of in zip(samples, labels, strict=True) if of != other_labels[j]]
            total = sum(np.exp(alpha - _distance(sample, n)) for n in of_sample)
            total += sum(np.exp(alpha - _distance(other, n)) for n in of_other)
            lifted = np.log(total) + _distance(sample, other) if total else 0.0
            losses.append(max(lifted, 0) ** 2 / 2)
    return np.mean(losses) if losses else 0.0


def ranked_list(anchors, alpha=1.2, margin=0.4, temperature=10.0, balance=0.5, weights_of=None):
    """Computes the weights from the pairs `weights_of`, by default `anchors`."""
    anchors = list(anchors)
    weights_of = anchors if weights_of is None else list(weights_of)
    losses = []
    for (anchor, positives, negatives), (fixed, _, fixed_negatives) in zip(
        anchors, weights_of, strict=True
    ):
        pull = [_distance(anchor, p) - (alpha - margin) for p in positives]
        push, weights = [], []
        for n, q in zip(negatives, fixed_negatives, strict=True):
            if _distance(anchor, n) < alpha:
                push.append(alpha - _distance(anchor, n))
                weights.append(np.exp(temperature * (alpha - _distance(fixed, q))))
        of_negatives = np.dot(weights, push) / sum(weights) if push else 0.0
        losses.append((1 - balance) * _mean_over_nonzero(pull) + balance * of_negatives)
    return np.mean(losses) if losses else 0.0


def fast_ap(anchors, num_bins=10):
    losses = []
    for anchor, positives, negatives in anchors:
        if not positives:
            continue
        histograms = np.zeros((2, num_bins + 1))
        for histogram, vectors in zip(histograms, (positives, negatives), strict=True):
            for vector in vectors:
                place = min(np.sum((anchor - vector) ** 2), 4) / 4 * num_bins
                lower = int(min(place, num_bins - 1))
                histogram[lower] += lower + 1 - place
                histogram[lower + 1] += place - lower
        of_positives, of_all = histograms[0], histograms.sum(axis=0)
        precision = sum(
            of_positives[b] * of_positives[: b + 1].sum() / of_all[: b + 1].sum()
            for b in range(num_bins + 1)
            if of_positives[b]
        )
        losses.append(1 - precision / len(positives))
    return np.mean(losses) if losses else 0.0


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


def _soft_rank(anchor, vectors, i, temperature):
    others = vectors[:i] + vectors[i + 1 :]
    return 1 + sum(_sigmoid((anchor @ v - anchor @ vectors[i]) / temperature) for v in others)


def smooth_ap(anchors, temperature=0.01):
    losses = []
    for anchor, positives, negatives in anchors:
        precisions = [
            _soft_rank(anchor, positives, i, temperature)
            / _soft_rank(anchor, positives + negatives, i, temperature)
            for i in range(len(positives))
        ]
        if precisions:
            losses.append(1 - np.mean(precisions))
    return np.mean(losses) if losses else 0.0


def recall_at_k_surrogate(anchors, largest_k=16, temperature=1.0, rank_temperature=0.01):
    ks = [k for k in range(1, largest_k + 1) if k.bit_count() == 1]
    losses = []
    for anchor, positives, negatives in anchors:
        ranks = [
            _soft_rank(anchor, positives + negatives, i, rank_temperature)
            for i in range(len(positives))
        ]
        for k in ks if positives else []:
            losses.append(1 - np.mean([_sigmoid((k - rank) / temperature) for rank in ranks]))
    return np.mean(losses) if losses else 0.0


def multi_level_distance(anchors, levels=(-3, 0, 3)):
    """The term that the regularisation adds, with weight 1."""
    distances = [_distance(anchor, v) for anchor, p, n in anchors for v in p + n]
    deviation = np.sqrt(np.var(distances) + 1e-6)
    normalized = [(distance - np.mean(distances)) / deviation for distance in distances]
    return np.mean([min(abs(distance - level) for level in levels) for distance in normalized])


def with_virtual_references(anchors):
    for anchor, positives, negatives in anchors:
        if positives:
            nearest = max(positives, key=lambda p: anchor @ p)
            virtual = anchor / np.linalg.norm(anchor) * np.linalg.norm(nearest)
            yield anchor, positives, [*negatives, virtual]
        else:
            yield anchor, positives, negatives


def hard(anchors):
    for anchor, positives, negatives in anchors:
        positives = sorted(positives, key=lambda p: _distance(anchor, p))
        negatives = sorted(negatives, key=lambda n: _distance(anchor, n))
        yield anchor, positives[-1:], negatives[:1]


def semi_hard(anchors, margin=0.2):
    for anchor, positives, negatives in anchors:
        chosen = [
            (j, k)
            for j, p in enumerate(positives)
            for k, n in enumerate(negatives)
            if _distance(anchor, p) < _distance(anchor, n) <= _distance(anchor, p) + margin
        ]
        yield (
            anchor,
            [p for j, p in enumerate(positives) if any(j == of for of, _ in chosen)],
            [n for k, n in enumerate(negatives) if any(k == of for _, of in chosen)],
        )


def synthesized(labels, embeddings, references, reference_labels, draws):
    """The pairs of real and synthetic classes; synthetic classes have negative labels."""
    samples, proxies = list(normalize(embeddings)), list(normalize(references))
    labels, reference_labels = list(labels), list(reference_labels)

    def nearest(i):
        own = [p for p, of in zip(references, reference_labels, strict=False) if of == labels[i]]
        return max(normalize(own), key=lambda p: samples[i] @ p) if own else None

    def mix(one, other, weight):
        mixture = weight * one + (1 - weight) * other
        length = weight * np.linalg.norm(one) + (1 - weight) * np.linalg.norm(other)
        return mixture * length / np.linalg.norm(mixture)

    for number, (i, j, weight) in enumerate(zip(*draws, strict=True)):
        p, q = nearest(i), nearest(j)
        if labels[i] == labels[j] or p is None or q is None:
            continue
        samples.append(mix(samples[i], samples[j], weight))
        proxies.append(mix(p, q, weight))
        labels.append(-1 - number)
        reference_labels.append(-1 - number)
    return pairs(labels, samples, proxies, reference_labels, normalized=False)


LOSSES = {
    "contrastive": contrastive,
    "cosine_contrastive": cosine_contrastive,
    "triplet": triplet,
    "multi_similarity": multi_similarity,
    "proxy_nca": proxy_nca,
    "normalized_softmax": normalized_softmax,
    "n_pair": n_pair,
    "margin": margin,
    "nt_xent": n_pair,
    "sup_con": sup_con,
    "arcface": arcface,
    "cosface": cosface,
    "circle": circle,
    "angular": angular,
    "ranked_list": ranked_list,
    "fast_ap": fast_ap,
    "smooth_ap": smooth_ap,
    "recall_at_k_surrogate": recall_at_k_surrogate,
}
# Losses that are not computed from each anchor's positives and negatives alone.
OF_BATCHES = {
    "soft_triple": soft_triple,
    "sub_center_arcface": sub_center_arcface,
    "lifted_structure": lifted_structure,
}
# Losses with weights that no gradient flows through.
WITH_FIXED_WEIGHTS = ("circle", "ranked_list")


def loss(name, labels, embeddings, references=None, reference_labels=None, **params):
    if name in OF_BATCHES:
        return OF_BATCHES[name](labels, embeddings, references, reference_labels, **params)
    if name == "proxy_anchor":
        if references is not None:
            labels, reference_labels = reference_labels, labels
            embeddings, references = references, embeddings
        return proxy_anchor(pairs(labels, embeddings, references, reference_labels), **params)
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


def rank_exactly(vectors):
    """For every vector, the rows of the others, nearest first, in exact rational arithmetic."""
    vectors = [[fractions.Fraction(float(value)) for value in vector] for vector in vectors]
    orders = []
    for i, query in enumerate(vectors):
        squares = [
            sum((a - b) ** 2 for a, b in zip(query, vector, strict=True)) for vector in vectors
        ]
        orders.append([j for j in sorted(range(len(vectors)), key=squares.__getitem__) if j != i])
    return np.array(orders)


def retrieval(
    queries,
    labels,
    gallery=None,
    gallery_labels=None,
    recall_at=(1, 2, 4, 8),
    own_rows=None,
    map_at=None,
):
    """Means over the queries; with `map_at` also MAP and MRR of the whole ranking, and MAP@k."""
    if gallery is None:
        gallery, gallery_labels, own_rows = queries, labels, range(len(queries))
    values = {name: [] for name in ("precision_at_1", "r_precision", "map_at_r")}
    values |= {f"recall_at_{k}": [] for k in recall_at}
    values |= {name: [] for name in ("map", "mrr", *(f"map_at_{k}" for k in map_at or ()))}
    for i, query in enumerate(np.asarray(queries, "float64")):
        distances = np.sqrt(np.sum((np.asarray(gallery, "float64") - query) ** 2, axis=1))
        own = None if own_rows is None else own_rows[i]
        order = [j for j in np.argsort(distances, kind="stable") if j != own]
        correct = np.array([gallery_labels[j] == labels[i] for j in order])
        relevant = sum(correct)
        if not relevant:
            continue
        precisions = np.where(correct, np.cumsum(correct) / np.arange(1, len(order) + 1), 0)
        values["precision_at_1"].append(correct[0])
        values["r_precision"].append(sum(correct[:relevant]) / relevant)
        values["map_at_r"].append(sum(precisions[:relevant]) / relevant)
        for k in recall_at:
            values[f"recall_at_{k}"].append(any(correct[:k]))
        values["map"].append(sum(precisions) / relevant)
        values["mrr"].append(1 / (1 + np.argmax(correct)))
        for k in map_at or ():
            values[f"map_at_{k}"].append(sum(precisions[:k]) / min(k, relevant))
    if map_at is None:
        del values["map"], values["mrr"]
    return {name: float(np.mean(query_values)) for name, query_values in values.items()}
